# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The environment contract: every variable, every bad value with its documented answer."""

from __future__ import annotations

import pytest
from pgops.entrypoint import settings, tls
from pgops.entrypoint.settings import Access, SettingsError


def refuse_to_read(path: str) -> bytes:
    raise AssertionError(f"{path} must not be read")


def files(**contents: bytes):
    """A reader over a dictionary; ``/name`` → bytes."""

    def read(path: str) -> bytes:
        try:
            return contents[path.strip("/")]
        except KeyError:
            raise FileNotFoundError(2, "No such file or directory") from None

    return read


def parse(read=refuse_to_read, **environment: str) -> settings.Parsed:
    return settings.parse(environment, read)


def levels(parsed: settings.Parsed) -> list[tuple[str, str]]:
    return [(message.level, message.variable) for message in parsed.messages]


def test_an_empty_environment_is_the_documented_default_and_needs_no_word():
    parsed = parse()
    assert parsed.messages == ()
    assert parsed.settings == settings.Settings()
    access = parsed.settings.access
    assert (access.enabled, access.methods, access.addresses) == (True, ("md5",), ("0.0.0.0/0", "::/0"))
    assert (access.databases, access.users, access.tls_required, access.allow_insecure) == (("all",), ("all",), False, False)


@pytest.mark.parametrize("word", ["true", "TRUE", " yes ", "on", "1", "t", "Y"])
def test_enable_true_words(word):
    parsed = parse(EXTERNAL_ACCESS_ENABLE=word)
    assert parsed.settings.access.enabled is True
    assert parsed.messages == ()


@pytest.mark.parametrize("word", ["false", "False", "no", "off", "0", "f", "N"])
def test_enable_false_words(word):
    parsed = parse(EXTERNAL_ACCESS_ENABLE=word)
    assert parsed.settings.access.enabled is False
    assert parsed.messages == ()


@pytest.mark.parametrize("word", ["", "null", "None", "maybe", "tru", "2", "true\nfalse", "ja", "true;", "-"])
def test_enable_that_is_no_boolean_closes_and_says_so_as_an_error(word):
    parsed = parse(EXTERNAL_ACCESS_ENABLE=word)
    assert parsed.settings.access.enabled is False
    assert levels(parsed) == [("error", "EXTERNAL_ACCESS_ENABLE")]
    assert "closed" in parsed.messages[0].text


@pytest.mark.parametrize(
    ("given", "methods"),
    [
        ("scram-sha-256", ("scram-sha-256",)),
        ("", ("md5",)),
        (" md5 ", ("md5",)),
        ("ldap, scram-sha-256 ,md5", ("ldap", "scram-sha-256", "md5")),
        ("MD5", ("MD5",)),
    ],
)
def test_methods_are_a_list_in_order(given, methods):
    assert parse(EXTERNAL_ACCESS_METHOD=given).settings.access.methods == methods


def test_a_list_of_nothing_is_the_default_with_a_warning():
    parsed = parse(EXTERNAL_ACCESS_METHOD=" , ")
    assert parsed.settings.access.methods == ("md5",)
    assert levels(parsed) == [("warning", "EXTERNAL_ACCESS_METHOD")]


def test_docker_librarys_variable_is_the_second_choice():
    assert parse(POSTGRES_HOST_AUTH_METHOD="scram-sha-256").settings.access.methods == ("scram-sha-256",)
    both = parse(POSTGRES_HOST_AUTH_METHOD="trust", EXTERNAL_ACCESS_METHOD="reject").settings
    assert both.access.methods == ("reject",)
    assert both.trust_asked


@pytest.mark.parametrize("variable", ["EXTERNAL_ACCESS_ADDRESSES", "EXTERNAL_ACCESS_DATABASES", "EXTERNAL_ACCESS_USERS"])
@pytest.mark.parametrize("value", ["", " ", "a,,b", "a,", ",", '"a', "a\nhost all all all trust", "a\rb", "a\0b", "a\tb", '""'])
def test_narrowing_lists_that_cannot_be_understood_refuse(variable, value):
    with pytest.raises(SettingsError) as caught:
        parse(**{variable: value})
    assert caught.value.variable == variable


def test_lists_keep_quotes_and_commas_in_quotes():
    parsed = parse(EXTERNAL_ACCESS_DATABASES='orders, "a,b","all"', EXTERNAL_ACCESS_USERS="+staff,app")
    assert parsed.settings.access.databases == ("orders", '"a,b"', '"all"')
    assert parsed.settings.access.users == ("+staff", "app")


@pytest.mark.parametrize(
    ("given", "required", "said"),
    [("allow", False, 0), ("", False, 0), ("require", True, 0), ("Require", True, 0), ("yes", True, 1), ("null", True, 1)],
)
def test_tls_falls_to_the_stricter_side(given, required, said):
    parsed = parse(EXTERNAL_ACCESS_TLS=given)
    assert parsed.settings.access.tls_required is required
    assert levels(parsed) == [("error", "EXTERNAL_ACCESS_TLS")] * said


@pytest.mark.parametrize(("given", "allowed", "said"), [("true", True, 0), ("false", False, 0), ("", False, 0), ("sure", False, 1)])
def test_allow_insecure(given, allowed, said):
    parsed = parse(EXTERNAL_ACCESS_ALLOW_INSECURE=given)
    assert parsed.settings.access.allow_insecure is allowed
    assert levels(parsed) == [("error", "EXTERNAL_ACCESS_ALLOW_INSECURE")] * said


@pytest.mark.parametrize(("given", "level", "said"), [("debug", "debug", 0), ("ERROR", "error", 0), ("", "info", 0), ("loud", "info", 1)])
def test_log_level(given, level, said):
    parsed = parse(LOG_LEVEL=given)
    assert parsed.settings.log_level == level
    assert levels(parsed) == [("warning", "LOG_LEVEL")] * said


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("EXTERNAL_ACCESS_ENABLED", "EXTERNAL_ACCESS_ENABLE"),
        ("EXTERNAL_ACCESS_ADRESSES", "EXTERNAL_ACCESS_ADDRESSES"),
        ("EXTERNAL_ACCESS_USER", "EXTERNAL_ACCESS_USERS"),
        ("EXTERNAL_ACCES_METHOD", "EXTERNAL_ACCESS_METHOD"),
        ("external_access_enable", "EXTERNAL_ACCESS_ENABLE"),
        ("EXTERNAL-ACCESS-TLS", "EXTERNAL_ACCESS_TLS"),
    ],
)
def test_a_misspelt_name_is_told_with_the_right_one(name, nearest):
    parsed = parse(**{name: "x"})
    assert levels(parsed) == [("warning", name)]
    assert parsed.messages[0].text.endswith(f"did you mean {nearest}?")
    assert parsed.settings.access == Access()


def test_names_that_are_none_of_ours_are_left_alone():
    assert parse(EXTERNAL_URL="x", POSTGRES_FOO="y", PATH="z").messages == ()


@pytest.mark.parametrize("variable", settings.SECRET_VARIABLES)
def test_a_value_from_a_file(variable):
    parsed = parse(files(secret=b"/a b\n"), **{variable + "_FILE": "/secret"})
    found = parsed.settings
    shown = {
        "POSTGRES_PASSWORD": found.password,
        "POSTGRES_USER": found.user,
        "POSTGRES_DB": found.database,
        "POSTGRES_INITDB_ARGS": " ".join(found.initdb_arguments),
        "PGDATA": found.data_directory,
    }
    assert shown[variable] == "/a b"


@pytest.mark.parametrize("variable", settings.SECRET_VARIABLES)
def test_value_and_file_together_refuse(variable):
    with pytest.raises(SettingsError, match="both set"):
        parse(**{variable: "/x", variable + "_FILE": "/secret"})


def test_the_images_own_pgdata_is_no_second_value():
    assert (
        parse(files(where=b"/elsewhere"), PGDATA="/var/lib/postgresql/data", PGDATA_FILE="/where").settings.data_directory == "/elsewhere"
    )


@pytest.mark.parametrize(("content", "password"), [(b"", ""), (b"\n", ""), (b"null\n", "null"), (b" x \r\n", " x "), ("pä".encode(), "pä")])
def test_what_a_password_file_may_hold(content, password):
    assert parse(files(secret=content), POSTGRES_PASSWORD_FILE="/secret").settings.password == password


@pytest.mark.parametrize(("content", "reason"), [(b"a\nb\n", "line break"), (b"a\0b", "NUL"), (b"\xff\xfe", "UTF-8")])
def test_what_a_password_file_may_not_hold(content, reason):
    with pytest.raises(SettingsError, match=reason):
        parse(files(secret=content), POSTGRES_PASSWORD_FILE="/secret")


def test_a_file_that_cannot_be_read_refuses_and_names_it():
    with pytest.raises(SettingsError, match=r"POSTGRES_PASSWORD_FILE: cannot read /nowhere: No such file"):
        parse(files(), POSTGRES_PASSWORD_FILE="/nowhere")


def test_an_empty_file_variable_counts_as_unset():
    assert parse(POSTGRES_PASSWORD="x", POSTGRES_PASSWORD_FILE="").settings.password == "x"


def test_database_defaults_to_the_user_and_names_may_hold_blanks():
    assert parse(POSTGRES_USER="my user").settings.database == "my user"
    assert parse(POSTGRES_USER="u", POSTGRES_DB="my db").settings.database == "my db"


@pytest.mark.parametrize("variable", ["POSTGRES_USER", "POSTGRES_DB"])
@pytest.mark.parametrize("value", ["a\nb", "x" * 64, "ä" * 32])
def test_names_that_no_server_has(variable, value):
    with pytest.raises(SettingsError) as caught:
        parse(**{variable: value})
    assert caught.value.variable == variable


@pytest.mark.parametrize("value", ["relative", "./x", "/a\nb"])
def test_pgdata_is_an_absolute_path(value):
    with pytest.raises(SettingsError, match="PGDATA"):
        parse(PGDATA=value)


def test_initdb_arguments_are_split_like_a_shell_does():
    assert parse(POSTGRES_INITDB_ARGS="--locale=C -E 'UTF8'").settings.initdb_arguments == ("--locale=C", "-E", "UTF8")
    with pytest.raises(SettingsError, match="POSTGRES_INITDB_ARGS"):
        parse(POSTGRES_INITDB_ARGS="'open")


def test_a_patroni_scope_asks_for_a_member():
    assert parse(PATRONI_SCOPE="main").settings.member
    assert not parse(PATRONI_SCOPE="").settings.member


SNAKEOIL = ("-c", "ssl_cert_file=/nowhere/ssl-cert-snakeoil.pem", "--ssl-key-file=/nowhere/ssl-cert-snakeoil.key")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (("-c", "ssl=on", *SNAKEOIL, "-c", "work_mem=6MB"), ["-c", "work_mem=6MB"]),
        (("-cssl=on", *SNAKEOIL), []),
        (("-c", "ssl=off", *SNAKEOIL), ["-c", "ssl=off"]),
        (("-c", "ssl=on", "-c", "ssl_cert_file=/certs/mine.pem"), ["-c", "ssl=on", "-c", "ssl_cert_file=/certs/mine.pem"]),
        (("-c", "application_name=/ssl-cert-snakeoil.pem"), ["-c", "application_name=/ssl-cert-snakeoil.pem"]),
    ],
)
def test_arguments_that_name_a_certificate_which_only_docker_librarys_image_has_go(given, kept):
    assert tls.without_snakeoil(given) == kept
