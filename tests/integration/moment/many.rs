//! Several rows, and all of them.

use diesel::prelude::*;
use threadline::{AsOf, AsOfQuery, Audited, AuditedDsl};
use threadline_tests::{TestDb, execute};

use super::clock;

diesel::table! { pairs (a, b) { a -> BigInt, b -> Text, n -> Integer, } }

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Audited)]
#[diesel(table_name = pairs)]
struct Pair {
    a: i64,
    b: String,
    n: i32,
}

fn db() -> TestDb {
    let db = TestDb::new();
    db.create("CREATE TABLE pairs (a bigint, b text, n integer NOT NULL, PRIMARY KEY (a, b))");
    db.capture("pairs", Pair::DEFINITION);
    execute(
        &mut db.app(),
        "INSERT INTO pairs SELECT a, b, 0 FROM generate_series(1, 3) a, unnest('{x,y}'::text[]) b",
    );
    db
}

#[test]
fn one_answer_for_each_id_in_their_order() {
    let db = db();
    execute(&mut db.app(), "DELETE FROM pairs WHERE a = 2");
    let moment = clock(&mut db.app());
    execute(&mut db.app(), "UPDATE pairs SET n = 1");
    let ids = [(3, "y"), (9, "x"), (2, "x"), (1, "x"), (3, "y")];
    let rows = Pair::as_of_many(ids, moment)
        .load(&mut db.auditor())
        .unwrap();
    let alone = ids.map(|id| {
        Pair::as_of(id, moment)
            .get_result(&mut db.auditor())
            .unwrap()
    });
    assert_eq!(rows, alone);
    assert!(matches!(
        rows.as_slice(),
        [
            AsOf::Found { .. },
            AsOf::NotYetCreated,
            AsOf::Deleted(_),
            AsOf::Found { .. },
            AsOf::Found { .. }
        ]
    ));
    let none = Pair::as_of_many(Vec::<(i64, &str)>::new(), moment).load(&mut db.auditor());
    assert_eq!(none.unwrap(), []);
}

/// As of one row they go by the time of writing; all rows go by the time of commit.
#[test]
fn by_which_time_they_go() {
    let db = db();
    let mut open = db.app();
    execute(&mut open, "BEGIN; UPDATE pairs SET n = 1");
    let moment = clock(&mut db.app());
    execute(&mut open, "COMMIT");
    let many = Pair::as_of_many([(1, "x")], moment)
        .load(&mut db.auditor())
        .unwrap();
    assert_eq!(many[0].clone().into_row().unwrap().n, 1);
    let all = Pair::all_as_of(moment).load(&mut db.auditor()).unwrap();
    assert!(
        all.len() == 6 && all.iter().all(|pair| pair.n == 0),
        "{all:?}"
    );
}

#[test]
fn all_rows_compose_further() {
    let db = db();
    let moment = clock(&mut db.app());
    execute(
        &mut db.app(),
        "UPDATE pairs SET n = 1; DELETE FROM pairs WHERE a = 1",
    );
    let mut auditor = db.auditor();
    let all = || Pair::all_as_of(moment);
    let page = all()
        .filter(pairs::b.eq("y"))
        .or_filter(pairs::a.eq(1))
        .order(pairs::a.desc())
        .then_order_by(pairs::b)
        .limit(2)
        .offset(1);
    let keys: Vec<_> = page
        .load(&mut auditor)
        .unwrap()
        .into_iter()
        .map(|pair| (pair.a, pair.b))
        .collect();
    assert_eq!(keys, [(2, "y".to_owned()), (1, "x".to_owned())]);
    assert_eq!(all().count().get_result::<i64>(&mut auditor).unwrap(), 6);
    assert_eq!(
        all()
            .select(pairs::a)
            .distinct()
            .load::<i64>(&mut auditor)
            .unwrap()
            .len(),
        3
    );
    assert_eq!(
        all()
            .order(pairs::a)
            .distinct_on(pairs::a)
            .load(&mut auditor)
            .unwrap()
            .len(),
        3
    );
    let boxed: AsOfQuery<_, _> = all().into_boxed().filter(pairs::n.eq(0));
    assert_eq!(
        boxed
            .order((pairs::a, pairs::b))
            .first(&mut auditor)
            .unwrap(),
        Pair {
            a: 1,
            b: "x".to_owned(),
            n: 0
        }
    );
    let grouped = all()
        .group_by(pairs::b)
        .select((pairs::b, diesel::dsl::count_star()))
        .having(diesel::dsl::count_star().gt(2));
    assert_eq!(
        grouped.load::<(String, i64)>(&mut auditor).unwrap().len(),
        2
    );
}
