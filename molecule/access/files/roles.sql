-- Who is to get in, and who is not. Test passwords, of throw-away servers.
SET password_encryption = 'scram-sha-256';
CREATE ROLE app LOGIN PASSWORD 'of a throw-away role';
CREATE ROLE readers;
CREATE ROLE reader LOGIN PASSWORD 'of a throw-away role' IN ROLE readers;
CREATE ROLE reporter LOGIN PASSWORD 'of a throw-away role';
CREATE DATABASE orders;
