-- Roles of the zoo with all that a role may have.
CREATE ROLE zoo_owner LOGIN CREATEDB CONNECTION LIMIT 7 VALID UNTIL '2100-01-01' PASSWORD 'zoo''s password';
CREATE ROLE zoo_super SUPERUSER;
CREATE ROLE zoo_reader NOINHERIT CREATEROLE;
CREATE ROLE zoo_replicator REPLICATION LOGIN BYPASSRLS CONNECTION LIMIT 0;
CREATE ROLE "zoo Odd ""role""; --" LOGIN PASSWORD 'ünï';
CREATE ROLE "zoo
newline";
CREATE ROLE zoo_group;
GRANT zoo_group TO zoo_owner WITH ADMIN OPTION;
GRANT zoo_group TO "zoo Odd ""role""; --";
GRANT zoo_reader TO zoo_group;
GRANT pg_read_all_data TO zoo_reader;
GRANT zoo_owner TO CURRENT_USER;
ALTER ROLE zoo_owner SET work_mem = '7MB';
ALTER ROLE zoo_owner SET search_path = rights, "Odd, name", public;
ALTER ROLE zoo_reader SET statement_timeout = 5000;
COMMENT ON ROLE zoo_owner IS 'it''s an owner';
COMMENT ON ROLE zoo_group IS E'group\nof two lines';
