//! What a list refuses, each with an error of its own.

use diesel::result::Error::QueryBuilderError;
use threadline::{
    ActorRef, CursorError, FilterError, PageError, Scope, actor_history, actor_timeline,
    correlation_bundle,
};

use super::*;

fn cursor(db: &TestDb) -> Cursor {
    let first = page(&mut db.auditor(), &TimelineFilter::new(), false, 1, None);
    first.cursor.unwrap()
}

#[test]
fn limits() {
    let list = || timeline(TimelineFilter::new());
    for limit in [0, -1, i64::MIN] {
        let refused = list().limit(limit).unwrap_err();
        assert_eq!(refused, PageError::LimitTooSmall { limit });
        assert!(refused.to_string().contains(&limit.to_string()));
    }
    for limit in [1001, i64::MAX] {
        assert_eq!(
            list().limit(limit).unwrap_err(),
            PageError::LimitTooLarge { limit }
        );
    }
    for limit in [1, 1000] {
        assert!(list().limit(limit).is_ok());
    }
}

#[test]
fn a_cursor_of_another_query() {
    let db = items(2);
    let cursor = cursor(&db);
    let list = || timeline(TimelineFilter::new());
    let another = PageError::AnotherQuery;
    assert_eq!(
        timeline(TimelineFilter::new().table("items"))
            .at(&cursor)
            .unwrap_err(),
        another
    );
    assert_eq!(list().oldest_first().at(&cursor).unwrap_err(), another);
    assert_eq!(
        list()
            .scope(Scope::field("name", "n"))
            .at(&cursor)
            .unwrap_err(),
        another
    );
    let actor = ActorRef::user(1).unwrap();
    assert_eq!(
        actor_timeline(actor.clone()).at(&cursor).unwrap_err(),
        another
    );
    assert_eq!(actor_history(actor).at(&cursor).unwrap_err(), another);
    assert_eq!(correlation_bundle("c").at(&cursor).unwrap_err(), another);
    // Another limit is the same query, and so is saying that it is unscoped.
    let page = list().limit(7).unwrap().unscoped().at(&cursor).unwrap();
    assert_eq!(page.get_result(&mut db.auditor()).unwrap().entries.len(), 1);
    // Nor can the query be changed once the cursor is there.
    let changed = list().at(&cursor).unwrap().scope(Scope::field("name", "n"));
    let Err(QueryBuilderError(refused)) = changed.get_result(&mut db.auditor()) else {
        panic!()
    };
    assert_eq!(refused.downcast_ref::<PageError>(), Some(&another));
}

#[test]
fn cursors_that_differ_in_the_scope_by_an_expression() {
    use threadline::schema::audit_changes::op;

    let db = items(2);
    let of = |text: &'static str| {
        timeline(TimelineFilter::new())
            .limit(1)
            .unwrap()
            .scope(Scope::matching(op.eq(text)))
    };
    let cursor = of("insert")
        .get_result(&mut db.auditor())
        .unwrap()
        .cursor
        .unwrap();
    assert!(of("insert").at(&cursor).is_ok());
    assert_eq!(
        of("update").at(&cursor).unwrap_err(),
        PageError::AnotherQuery
    );
}

#[test]
fn a_cursor_that_was_tampered_with() {
    let text = cursor(&items(2)).to_string();
    let mut altered = text.clone();
    let last = if altered.pop() == Some('A') { 'Q' } else { 'A' };
    altered.push(last);
    assert_eq!(altered.parse::<Cursor>(), Err(CursorError::Altered));
    assert_eq!(
        format!("B{}", &text[1..]).parse::<Cursor>(),
        Err(CursorError::Version {
            found: 6,
            expected: 2
        })
    );
    for other in ["", "?", "page=2", &text[..20]] {
        let error = other.parse::<Cursor>().unwrap_err();
        assert!(
            error.to_string().contains("begin at the first page"),
            "{error}"
        );
    }
}

/// As a request has them: all of it from texts.
#[test]
fn a_page_from_texts() {
    let db = items(3);
    let filter = TimelineFilter::from_pairs([("table", "items"), ("op", "insert")]).unwrap();
    let first = page(&mut db.auditor(), &filter, false, 2, None);
    let text = first.cursor.unwrap().to_string();
    let second = page(
        &mut db.auditor(),
        &filter,
        false,
        2,
        Some(&text.parse().unwrap()),
    );
    assert_eq!(ids(&second.entries), [1]);
}

#[test]
fn a_table_that_is_not_audited() {
    let db = items(1);
    for filter in [
        TimelineFilter::new().table("itmes"),
        TimelineFilter::new().table("items").schema("billing"),
        TimelineFilter::new().table("billing.items"),
        TimelineFilter::new().table("public.itmes"),
        TimelineFilter::new().table("a.public.itmes"),
        TimelineFilter::new().table("\"public.itmes\""),
        TimelineFilter::new()
            .table("billing.items")
            .schema("public"),
        TimelineFilter::new()
            .table("billing.items")
            .key([("id", 1)]),
        TimelineFilter::new().table("itmes").key([("id", 1)]),
        TimelineFilter::new()
            .table("itmes")
            .actor(ActorRef::user(1).unwrap()),
    ] {
        let refused = timeline(filter)
            .get_result(&mut db.auditor())
            .unwrap_err()
            .to_string();
        assert!(refused.contains("no audited table is called"), "{refused}");
        assert!(
            refused.contains("itmes") || refused.contains("billing.items"),
            "{refused}"
        );
    }
}

#[test]
fn a_key_without_its_table() {
    let keyed = timeline(TimelineFilter::new().key([("id", 1)]));
    let Err(QueryBuilderError(refused)) = keyed.get_result(&mut items(1).auditor()) else {
        panic!()
    };
    assert_eq!(refused.downcast_ref(), Some(&FilterError::KeyWithoutTable));
}
