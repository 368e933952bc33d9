//! Queries as of a moment, against a server.

mod asynchronous;
mod costs;
mod cut;
mod decoding;
mod evolution;
mod fills;
mod many;
mod plans;
mod property;
pub mod queries;
mod raw;
mod refusals;
mod settled;
mod tables;

use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Timestamptz;
use threadline_tests::{TestDb, execute};

/// The server's time.
pub fn clock(conn: &mut PgConnection) -> DateTime<Utc> {
    diesel::select(sql::<Timestamptz>("clock_timestamp()"))
        .get_result(conn)
        .unwrap()
}

/// Who may read a table and the log too has to get the same answers as an auditor. A grant, because membership in a role would
/// be that of all databases.
pub fn let_the_application_read_the_log(db: &TestDb) {
    execute(
        &mut db.superuser(),
        "GRANT SELECT ON audit_tables, audit_changes, audit_commits TO tl_app;
         DO $$ DECLARE reading record; BEGIN
           FOR reading IN SELECT oid::regprocedure AS name FROM pg_proc
               WHERE pronamespace = 'public'::regnamespace AND proname LIKE 'threadline\\_%' AND has_function_privilege('threadline_reader', oid, 'EXECUTE') LOOP
             EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO tl_app', reading.name);
           END LOOP; END $$",
    );
}
