-- What belongs to the database itself.
COMMENT ON DATABASE :"DBNAME" IS E'it''s the "zoo"\nof two lines';
ALTER DATABASE :"DBNAME" CONNECTION LIMIT 77;
ALTER DATABASE :"DBNAME" SET work_mem = '9MB';
ALTER DATABASE :"DBNAME" SET search_path = public, "Odd, name", mentorship;
ALTER DATABASE :"DBNAME" SET datestyle = 'ISO, DMY';
ALTER DATABASE :"DBNAME" SET "zoo.own" = 'it''s \ odd';
ALTER DATABASE :"DBNAME" SET session_preload_libraries = auto_explain, tcn;
ALTER DATABASE :"DBNAME" SET statement_timeout = 0;
ALTER ROLE zoo_reader IN DATABASE :"DBNAME" SET search_path = '';
ALTER ROLE zoo_owner IN DATABASE :"DBNAME" SET work_mem = '11MB';
ALTER ROLE "zoo Odd ""role""; --" IN DATABASE :"DBNAME" SET search_path = "a,b", public;
GRANT CONNECT, TEMPORARY ON DATABASE :"DBNAME" TO zoo_reader;
GRANT CREATE ON DATABASE :"DBNAME" TO zoo_owner WITH GRANT OPTION;
REVOKE TEMPORARY ON DATABASE :"DBNAME" FROM PUBLIC;
