//! `docs/incident-playbook.md`: its SQL runs, and answers what it says. `PLAYBOOK=overwrite` writes the answers anew.

use std::env;
use std::fs;
use std::path::Path;

use super::*;

const PLAYBOOK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/incident-playbook.md");

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

/// The playbook with the answer of each query below it, as JSON lines.
fn answered(playbook: &str, conn: &mut PgConnection) -> String {
    let mut answered = String::new();
    let mut rest = playbook;
    while let Some((before, after)) = rest.split_once("```sql\n") {
        let (sql, after) = after.split_once("```").expect("the query ends");
        let (gap, after) = after.split_once("```json\n").expect("its answer follows");
        assert_eq!(gap.trim(), "", "the answer is right below `{sql}`");
        let (_, after) = after.split_once("```").expect("the answer ends");
        let query = sql.trim_end().trim_end_matches(';');
        let lines = diesel::sql_query(format!(
            "SELECT row_to_json(q)::text AS line FROM ({query}) q"
        ))
        .load::<Line>(conn)
        .unwrap_or_else(|error| panic!("{error}\n{sql}"));
        assert!(!lines.is_empty(), "{sql}");
        answered.push_str(&format!("{before}```sql\n{sql}```{gap}```json\n"));
        for Line { line } in lines {
            answered.push_str(&line);
            answered.push('\n');
        }
        answered.push_str("```");
        rest = after;
    }
    answered + rest
}

#[test]
fn the_playbook_answers_what_it_says() {
    let playbook = fs::read_to_string(Path::new(PLAYBOOK)).unwrap();
    let mut auditor = incident().auditor();
    execute(&mut auditor, "SET timezone = 'UTC'");
    let answered = answered(&playbook, &mut auditor);
    if env::var("PLAYBOOK").is_ok_and(|value| value == "overwrite") {
        fs::write(PLAYBOOK, &answered).unwrap();
    }
    assert!(
        playbook == answered,
        "the answers have changed: PLAYBOOK=overwrite writes them anew"
    );
}
