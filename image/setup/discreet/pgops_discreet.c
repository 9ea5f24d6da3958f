/*
 * Copyright (c) 2026 The pgops.access developers
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Keeps statements that may carry a secret away from libraries that record errors. pg_stat_monitor stores the text of every statement
 * that fails, in its hook for log messages, whatever its settings say of utility statements and literals; with this library preloaded
 * after it, that hook sees no statement where the statement or the message has one of the words below. The server's own log is not touched.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "tcop/tcopprot.h"
#include "utils/elog.h"

PG_MODULE_MAGIC;

void		_PG_init(void);

static emit_log_hook_type next_hook = NULL;
/* The same as those that the entrypoint's log looks for (entrypoint/redact.py). */
static const char *const words[] = {"pass", "secret", "://", "scram-sha", "md5"};

static bool
may_carry_secret(const char *text)
{
	if (text == NULL)
		return false;
	for (; *text; text++)
	{
		for (int i = 0; i < (int) lengthof(words); i++)
		{
			if (pg_strncasecmp(text, words[i], strlen(words[i])) == 0)
				return true;
		}
	}
	return false;
}

static void
without_statement(ErrorData *edata)
{
	const char *statement = debug_query_string;

	debug_query_string = NULL;
	PG_TRY();
	{
		next_hook(edata);
	}
	PG_CATCH();
	{
		debug_query_string = statement;
		PG_RE_THROW();
	}
	PG_END_TRY();
	debug_query_string = statement;
}

static void
on_log_message(ErrorData *edata)
{
	if (next_hook == NULL)
		return;
	if (may_carry_secret(debug_query_string) || may_carry_secret(edata->message))
		without_statement(edata);
	else
		next_hook(edata);
}

void
_PG_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		return;
	next_hook = emit_log_hook;
	emit_log_hook = on_log_message;
}
