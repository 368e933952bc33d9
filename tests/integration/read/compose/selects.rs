//! Parts of a change, counts and groups.

use super::*;

#[test]
fn select_a_part() {
    let mut conn = users().auditor();
    let part: Vec<(Op, Option<String>, Option<i32>)> = User::history(1)
        .select((change::op, recorded(users::email), recorded(users::age)))
        .load(&mut conn)
        .unwrap();
    assert_eq!(
        part,
        [
            (Op::Delete, Some("c@x".into()), None),
            (Op::Update, Some("c@x".into()), None),
            (Op::Update, Some("b@x".into()), Some(30)),
            (Op::Insert, Some("a@x".into()), Some(30)),
        ]
    );
}

#[test]
fn select_the_stored_images() {
    let mut conn = users().auditor();
    let image: Option<serde_json::Value> = User::history(1)
        .filter(change::op.eq(Op::Insert))
        .select(change::data_after)
        .first(&mut conn)
        .unwrap();
    assert_eq!(image, Some(json!({"id": 1, "email": "a@x", "age": 30})));
    let key: serde_json::Value = User::history(1)
        .select(change::table_pk)
        .first(&mut conn)
        .unwrap();
    assert_eq!(key, json!({"id": "1"}));
}

#[test]
fn count_and_aggregates() {
    let mut conn = users().auditor();
    let conn = &mut conn;
    assert_eq!(
        User::changes_of(1).count().get_result::<i64>(conn).unwrap(),
        4
    );
    assert_eq!(
        User::changes()
            .filter(change::op.eq(Op::Insert))
            .count()
            .get_result::<i64>(conn)
            .unwrap(),
        2
    );
    let newest: Option<i64> = User::changes_of(1)
        .select(max(change::id))
        .get_result(conn)
        .unwrap();
    assert_eq!(newest, Some(User::history(1).first(conn).unwrap().id));
}

#[test]
fn distinct_and_grouped() {
    let mut conn = users().auditor();
    let conn = &mut conn;
    let distinct: Vec<Op> = User::changes_of(1)
        .select(change::op)
        .distinct()
        .order(change::op)
        .load(conn)
        .unwrap();
    assert_eq!(distinct, [Op::Delete, Op::Insert, Op::Update]);
    let grouped: Vec<(Op, i64)> = User::changes()
        .group_by(change::op)
        .select((change::op, count_star()))
        .order(change::op)
        .load(conn)
        .unwrap();
    assert_eq!(grouped, [(Op::Delete, 1), (Op::Insert, 2), (Op::Update, 2)]);
}
