//! WHERE, ORDER BY, LIMIT, and a query whose parts are put together at run time.

use super::*;

#[test]
fn filters_on_metadata() {
    let mut conn = users().auditor();
    let conn = &mut conn;
    assert_eq!(
        User::history(1)
            .filter(change::op.eq(Op::Update))
            .load(conn)
            .unwrap()
            .len(),
        2
    );
    assert_eq!(
        User::history(1)
            .filter(change::op.eq_any([Op::Insert, Op::Delete]))
            .load(conn)
            .unwrap()
            .len(),
        2
    );
    assert_eq!(
        User::history(1)
            .filter(change::changed_fields.contains(vec!["age"]))
            .load(conn)
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        User::history(1)
            .filter(change::actor_ref.eq(ActorRef::user("ann").unwrap()))
            .load(conn)
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        User::history(1)
            .filter(change::source.eq("web"))
            .load(conn)
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        User::history(1)
            .filter(change::captured_at.lt(diesel::dsl::now))
            .load(conn)
            .unwrap()
            .len(),
        4
    );
    assert_eq!(
        User::history(1)
            .filter(
                change::correlation_id
                    .is_null()
                    .and(change::op.ne(Op::Delete))
            )
            .load(conn)
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn filters_on_columns_of_the_model() {
    let mut conn = users().auditor();
    let conn = &mut conn;
    let b = User::history(1)
        .filter(users::email.eq("b@x"))
        .load(conn)
        .unwrap();
    assert_eq!(ops(&b), [Op::Update]);
    // The last state of a deleted row counts as the delete's.
    assert_eq!(
        ops(&User::history(1)
            .filter(users::age.is_null())
            .load(conn)
            .unwrap()),
        [Op::Delete, Op::Update]
    );
    let both = User::history(1)
        .filter(users::email.like("%@x").and(change::op.eq(Op::Insert)))
        .load(conn)
        .unwrap();
    assert_eq!(ops(&both), [Op::Insert]);
}

#[test]
fn another_order_a_limit_and_an_offset() {
    let mut conn = users().auditor();
    let conn = &mut conn;
    let oldest = User::history(1)
        .order(change::id.asc())
        .limit(2)
        .load(conn)
        .unwrap();
    assert_eq!(ops(&oldest), [Op::Insert, Op::Update]);
    let page = User::history(1).limit(2).offset(1).load(conn).unwrap();
    assert_eq!(ops(&page), [Op::Update, Op::Update]);
    let by_value = User::changes_of(1)
        .order((users::email.desc(), change::id))
        .load(conn)
        .unwrap();
    assert_eq!(
        ops(&by_value),
        [Op::Update, Op::Delete, Op::Update, Op::Insert]
    );
}

#[test]
fn first_and_optional() {
    let mut conn = users().auditor();
    let conn = &mut conn;
    assert_eq!(User::history(1).first(conn).unwrap().op, Op::Delete);
    assert_eq!(User::history(99).first(conn).optional().unwrap(), None);
    let newest: Change<User> = User::history(2).get_result(conn).unwrap();
    assert_eq!(newest.op, Op::Insert);
}

#[test]
fn boxed() {
    let mut conn = users().auditor();
    let mut query = User::history(1).into_boxed();
    for op in [Op::Delete, Op::Insert] {
        query = query.filter(change::op.ne(op));
    }
    query = query.filter(users::email.ne("b@x")).limit(5);
    assert_eq!(ops(&query.load(&mut conn).unwrap()), [Op::Update]);
    let all = User::changes()
        .into_boxed()
        .or_filter(change::op.eq(Op::Insert))
        .or_filter(users::id.eq(2));
    assert_eq!(all.load(&mut conn).unwrap().len(), 2);
}
