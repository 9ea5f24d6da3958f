-- One role for each kind of stored verifier. Test passwords, of throw-away servers.
SET password_encryption = 'scram-sha-256';
CREATE ROLE with_scram LOGIN PASSWORD 'right';
SET password_encryption = 'md5';
CREATE ROLE with_md5 LOGIN PASSWORD 'right';
