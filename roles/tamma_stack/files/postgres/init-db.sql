-- Runs once, when PostgreSQL initialises an empty data volume, as POSTGRES_USER in POSTGRES_DB.
-- The services create and migrate their own tables; what stands here must exist before them or
-- needs rights that a managed database may not give to them. It can be run again by hand.
CREATE EXTENSION IF NOT EXISTS "uuid-ossp";

CREATE SCHEMA IF NOT EXISTS elsa;
CREATE SCHEMA IF NOT EXISTS tamma;

GRANT ALL ON SCHEMA elsa, tamma, public TO CURRENT_USER;
