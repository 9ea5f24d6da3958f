# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What random files are made of: words, and the oddities of each column that the lexer and the parser know of."""

from __future__ import annotations

# One item a line would be 600 lines.
# fmt: off
NAMES = [
    "all", "sameuser", "samerole", "samegroup", "replication", "postgres", "alice", "bob", "d1", "app", "orders", "x", "ALL", "All",
    "+grp", "+", "+all", "+/x", "samehost", "samenet", "a b", "a,b", "a#b", 'a"b', "", "é", "naïve", "日本", "@", "a@b", "a\\b", "'all'",
    "local", "host", "trust", "include", "a=b", "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn",
    "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn", "\x0b", "a\x0cb", "\xa0", "-", "*", "$x", "%",
]
PLAIN = [
    "all", "all", "all", "alice", "app", "d1", "postgres", "orders", "replication", "sameuser", "+grp",
]
REGEXES = [
    "/", "/^a", "/^a.*$", "/^db[0-9]+$", "/x{1,3}", "/(a|b)c?", "/(", "/)", "/[", "/]", "/{", "/}", "/a{", "/a{1", "/a{2,1}",
    "/a{1}{2}", "/*", "/+", "/?", "/a**", "/a++", "/a|", "/|a", "/||", "/()", "/(?:a)", "/(?i)ab", "/(?x) a # c", "/(?=a)b", "/(?!a)b",
    "/(?<=a)b", "/\\d\\w\\s", "/\\m a\\M", "/\\y", "/\\1", "/(a)\\1", "/(a)\\2", "/\\", "/\\q", "/\\x41", "/\\u00e9", "/\\U0001F600",
    "/\\cA", "/\\0", "/[[:alpha:]]", "/[[:nope:]]", "/[a-z]", "/[z-a]", "/[^a]", "/[]a]", "/[^]a]", "/[a-]", "/[--a]", "/[[.hyphen.]]",
    "/[[=a=]]", "/[[.x.]]", "/***=a+b", "/***:a+", "/***a", "/^^a", "/a$$", "/^*", "/$*", "/(^)*", "/a*?", "/a+?", "/a??", "/a{1,2}?",
    "/.{256}", "/.{255}", "/a{0}", "/\\A\\Z", "/a\\Z*", "/[\\d]", "/[\\w-a]", "/[a\\]b]", "/[\\D]", "/\\_", "/\\e\\t", "/\\B\\b", "/é",
    "/[é]", "/日?", "/(?", "/(?a", "/(*)", "/(+)", "/a{1,2", "/a{,2}", "/a{x}", "/{1}", "/a{1,2}{3}", "/((((((a))))))", "/(?:", "/(?:a",
    "/a(?#c)b", "/[[:<:]]a[[:>:]]", "/(?b)a\\(b", "/(?e)a{1}", "/(?q)a(b", "/(?n)^a.$", "/(?z)a", "/(?ic)A", "/\\12", "/\\012", "/\\x",
    "/\\xg", "/\\u12", "/[\\x41-\\x43]", "/\\ca", "/\\c", "/[a", "/[a-", "/[[:",
]
REGEX_PIECES = [
    "a", "b", "c", ".", "\\d", "\\w", "[a-c]", "[^x]", "(", ")", "(?:", "|", "*", "+", "?", "{2}", "{1,3}", "{,2}", "^", "$", "[", "]",
    "\\", "\\1", "[[:digit:]]", "é", "\\.", "-", "{", "}",
]
TYPES = [
    "local", "host", "host", "host", "hostssl", "hostnossl", "hostgssenc", "hostnogssenc",
]
ODD_TYPES = [
    "Local", "HOST", "hosts", "", "#", "local,host", "hostssl,", "localhost", '"local"', 'lo"cal"', "include", "\ufefflocal",
    "loc\\al",
]
ASPECTS = frozenset({"type", "quotes", "names", "address", "method", "options", "blanks", "structure"})
OPTION_METHODS = ["peer", "ident", "cert", "gss", "pam", "ldap", "ldap", "ldap", "radius", "radius", "oauth", "trust"]
GOOD_ADDRESSES = [
    "all", "samehost", "samenet", "0.0.0.0/0", "::/0", "127.0.0.1/32", "::1/128", "10.0.0.0/8", "192.168.1.7/24", "localhost",
    ".example.com", "::ffff:1.2.3.4/96", "2001:DB8::/32", "1.2.3.4", "::1", "127.1/32", "0/0",
]
METHODS = [
    "trust", "reject", "md5", "password", "scram-sha-256", "ident", "peer", "cert", "gss", "sspi", "pam", "ldap", "bsd", "radius",
    "oauth",
]
ODD_METHODS = [
    "Trust", "scram", "none", "crypt", "krb5", "gssapi", "", "md5,trust", "trust,", '"trust"', "implicit reject", "scram-sha-256-plus",
    "uaImplicit",
]
ADDRESSES = [
    "all", "samehost", "samenet", '"all"', '"samehost"', "0.0.0.0/0", "::/0", "127.0.0.1/32", "::1/128", "10.0.0.0/8", "10/8", "127/8",
    "0/0", "192.168.1.7/24", "fe80::1%lo/64", "fe80::1%1/64", "::1%lo/128", "fe80::1%nope/64", "::ffff:1.2.3.4/96", "::ffff:0:0/96",
    "2001:DB8::/32", "1.2.3.4", "::1", "fe80::", "localhost", ".example.com", "*.example.com", "example.com", "300.1.1.1", "1.2.3.4.5",
    "1.2.3", "a_b", '"a b"', '""', ".", "ALL", "127.0.0.1.", "127.1/32", "0x7f.1/32", "2130706433/32", "010.0.0.1/32", "08.0.0.1/32",
    "0x7f000001/8", "1.2.3.4/", "/8", "/", "1.2.3.4/33", "::/129", "1.2.3.4/-1", "1.2.3.4/+8", "1.2.3.4/08", '"1.2.3.4/ 8"',
    '"1.2.3.4/8 "', "1.2.3.4/0x8", "1.2.3.4/8x", "1.2.3.4/8/8", "1.2.3.4/255.255.0.0", "example.com/24", ".x/8", "all/0", "samehost/8",
    "1.2.3.4/99999999999999999999", "1.2.3.4/4294967304", "[::1]/128", "::/00", "1::2::3/64", ":::/0", "12345::/16", "::1.2.3.4/128",
    "::1.2.3.400/128", "1.2.3.4,5.6.7.8", "1.2.3.4/8,all", "@", "256.1/8", "1..2/8", "0b1/8", "1.65536/8", "4294967295/32",
    "4294967296/32", "1.2.3.256/8", "1.16777215/8", "1.16777216/8", "1.2.65535/8", "0xffffffff/8", "0x/8", "00/8", "1.0x2.03.4/8",
    "127.0.0.1%lo/8", "::%/0", "fe80::1%/64", "fe80::1%0/64", "fe80::1%99/64", "::1%1/128", "ff02::1%lo/16", "fe80::1%lo%lo/64",
    "0:0:0:0:0:0:0:0/0", "1:2:3:4:5:6:7::/64", "1:2:3:4:5:6:7:8:9/64", "::1:2:3:4:5:6:7/64", "1:2:3:4:5:6:1.2.3.4/64", "00001::/16",
    "é.example", "10.0.0.0 /8", "10.0.0.0/ 8", "a/b/c", "1.2.3.4/\x0b8",
]
MASKS = [
    "255.255.255.0", "255.255.255.255", "0.0.0.0", "255.0.255.0", "24", "255.255.255", "ffff::", "ffff:ffff:ffff:ffff::", "::", "0",
    "all", "trust", "255.256.0.0", "", "0xffffff00", "037777777400", "255.255.255.0/24", "255.255.255.0,1", "4294967040", "::ffff:0:0",
    "1.2.3.4%lo", "ffff::%lo", "localhost",
]
OPTIONS = [
    "map", "clientcert", "clientname", "pamservice", "pam_use_hostname", "krb_realm", "include_realm", "compat_realm", "upn_username",
    "ldapurl", "ldaptls", "ldapscheme", "ldapserver", "ldapport", "ldapbinddn", "ldapbindpasswd", "ldapsearchattribute",
    "ldapsearchfilter", "ldapbasedn", "ldapprefix", "ldapsuffix", "radiusservers", "radiussecrets", "radiusports", "radiusidentifiers",
    "issuer", "scope", "validator", "delegate_ident_mapping", "radiusserver", "Map", "nope", "", "ldapsearchScope", "clientcert ",
]
OWN_OPTIONS: dict[str, list[str]] = {
    "ldap": [
        "ldapurl", "ldaptls", "ldapscheme", "ldapserver", "ldapport", "ldapbinddn", "ldapbindpasswd", "ldapsearchattribute",
        "ldapsearchfilter", "ldapbasedn", "ldapprefix", "ldapsuffix",
    ],
    "radius": ["radiusservers", "radiussecrets", "radiusports", "radiusidentifiers"],
    "oauth": ["issuer", "scope", "validator", "delegate_ident_mapping", "map"],
    "gss": ["krb_realm", "include_realm", "map"],
    "sspi": ["krb_realm", "include_realm", "map", "compat_realm", "upn_username"],
    "pam": ["pamservice", "pam_use_hostname"],
    "peer": ["map"],
    "ident": ["map"],
    "cert": ["map", "clientcert", "clientname"],
}
VALUES: dict[str, list[str]] = {
    "clientcert": ["verify-ca", "verify-full", "1", "0", "no-verify", "", "Verify-ca", "yes"],
    "clientname": ["CN", "DN", "cn", ""],
    "ldapurl": [
        "ldap://h", "ldap://h/dc=a", "ldap://h:1389/dc=a?uid?sub", "ldaps://h/dc=a?uid,cn?one?(x=y)", "ldapi://h", "http://h/", "nope",
        "", "ldap:///dc=a", "ldap://", "ldap://h:x/", "ldap://h/dc=a??base", "ldap://h/dc=a?uid?two", "ldap://h/a?b?sub?c?d",
        "LDAP://H/dc=a", "ldap://[::1]:5/dc=a", "ldap://h/dc%3Da", "ldap://h/%zz", "ldap://h/dc=a?uid?sub?(a=b)?ext",
        "ldap://h/dc=a?uid?SUB", "<ldap://h/dc=a>", "URL:ldap://h/", "ldap://h1 h2/", "ldap://h:0",
    ],
    "ldaptls": ["1", "0", "true", ""],
    "ldapscheme": ["ldap", "ldaps", "ldapi", "LDAP", ""],
    "ldapport": ["389", "0", "-5", "389x", "x", "", "70000", " 389", "+1", "99999999999", "4294967296", "0x10", "2147483648"],
    "ldapsearchfilter": ["(uid=$username)", "", "x"],
    "radiusservers": [
        "127.0.0.1", "127.0.0.1,::1", '"127.0.0.1", 10.0.0.1', "", ",", "127.0.0.1,", "127.0.0.1 10.0.0.1", '"127.0.0.1',
        " 127.0.0.1 ", '""', "10",
    ],
    "radiussecrets": ["s", "s,t", 's,"t,u"', "", "S,T", "s,", '"a""b"', '""', "s t", '"s" t', "é", "s,t,u"],
    "radiusports": ["1812", "1812,1813", "x", "0", "-1", "", "1812,x", " 1812", "1812x", "99999", '""', "1,2,3"],
    "radiusidentifiers": ["a", "a,b", "", "a,", "A b", "1,2,3"],
    "include_realm": ["0", "1", "on", ""],
    "pam_use_hostname": ["1", "0", "on"],
    "delegate_ident_mapping": ["1", "0", "true", ""],
    "validator": ["myval", "other", ""],
    "compat_realm": ["1", "0"],
    "upn_username": ["1", "0"],
}
BLANKS = [
    " ", " ", " ", " ", "  ", "\t", " \t ", "\r", " \r ", " , ", " ,", "\x0b", "\x0c", "\xa0",
]
ENDS = ["\n"] * 12 + [
    "\r\n", "\r\n", "\r\r\n", "\\\n", "\\\r\n", "\\ \n", "\\\\\n", "\n\n", "\r", "\x00\n", "\x00x\n", ",\n", '"\n',
]
COMMENTS = [
    "# note", "#", " # x \\", "#local all all trust", '# "quote', "  ", "\t", ",", ",,,", '"', "\\", "\ufeff", "\r", '""', "#\x00",
    "# é",
]
SPICE = [
    b'"', b',', b'#', b'\\', b'\n', b'\r', b'\r\n', b'\\\n', b'\x00', b' ', b'\t', b'@', b'/', b'+', b'=', b'\xff', b'\x80', b'\xc3',
    b'""', b'%', b'.', b':', b'\x0b', b'\x0c',
]
REGEX_STARTS = [
    "/", "/", "/", "/", "/^", "/(?i)", "/(?x)", "/(?n)", "/***:", "/(?e)", "/(?b)", "/***=", "/(?s)", "/(?w)", "/(?t)", "/(?xi)", "/(?p)",
    "/(?m)", "/(?c)",
]
REGEX_OPENERS = ["(", "(", "(", "(?:", "(?:", "(?=", "(?!", "(?<=", "(?<!"]
QUANTIFIERS = [
    "*", "+", "?", "*?", "+?", "??", "{2}", "{2,}", "{1,2}", "{1,2}?", "{0,255}", "{256}", "{,1}", "{2,1}", "{", "}", "\\{1,2\\}",
    "{0}", "{0,0}",
]
ATOMS = [
    "a", "b", "c", ".", "\\d", "\\S", "\\w", "\\1", "\\2", "\\m", "\\M", "\\y", "\\Y", "\\A", "\\Z", "^", "$", "|", "é", " ", "#",
    "\\x4", "\\u00e9", "\\t", "\\.", "\\-", "\\B", "\\0", "\\07", "\\10", "\\cx", "\\D", "\\U00000041", "\\x0041", "(?#x)", "\\<", "\\>",
]
BRACKET_PARTS = [
    "a", "b-d", "-", "]", "^", "[", "\\d", "\\w", "\\D", "\\]", "\\-", "[:alpha:]", "[:digit:]", "[:word:]", "[:foo:]", "[.a.]",
    "[.hyphen.]", "[=b=]", "[.NUL.]", "z-a", "é", "[.ab.]", "\\x41", "a-[.c.]", "\\e", "[:<:]", "[", "&&", "~", "[:ALPHA:]", "[..]", "[==]",
    "a-a", "--/", "a--",
]
LDAP_TAILS = [
    "", "", "", " ldapscheme=ldaps", " ldapport=12", ' "ldapsearchfilter=(a=b)"', " ldapprefix=x", " ldaptls=1", " ldapsearchattribute=x",
    " ldapserver=s",
]
LENGTHS = [
    128, 255, 256, 1000, 1020, 1024, 2048, 4096, 8190, 8192, 10239, 10255, 10265, 12000, 20477, 20479, 20480, 40957, 40959, 61437, 70000,
]
# fmt: on
