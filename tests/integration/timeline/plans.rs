//! Every list goes by an index, on the first page as on a late one.

use threadline::{
    ActorRef, actor_history, actor_timeline, audit_changes_for_transaction, correlation_bundle,
    incident_bundle,
};

use crate::contract::c06_indexes::{goes_by, large, pages_read};

use super::*;

/// The first page, and one that a cursor of the middle leads to.
macro_rules! pages_go_by {
    ($list:expr, $index:literal, $most:literal) => {
        let list = $list.limit(5).unwrap();
        goes_by(list.clone(), $index, $most);
        let mut page = list.clone().get_result(&mut large().auditor()).unwrap();
        for _ in 0..3 {
            let Some(cursor) = &page.cursor else { break };
            let at = list.clone().at(cursor).unwrap();
            page = at.clone().get_result(&mut large().auditor()).unwrap();
            goes_by(at, $index, $most);
        }
        let back = list.clone().at(page.back.as_ref().unwrap()).unwrap();
        goes_by(back, $index, $most);
    };
}

#[test]
fn a_timeline_of_everything() {
    pages_go_by!(timeline(TimelineFilter::new()), "audit_changes_time", 6);
    pages_go_by!(
        timeline(TimelineFilter::new()).oldest_first(),
        "audit_changes_time",
        21
    );
}

#[test]
fn a_timeline_of_a_table() {
    pages_go_by!(
        timeline(TimelineFilter::new().table("others")),
        "audit_changes_table_time",
        21
    );
    pages_go_by!(
        timeline(TimelineFilter::new().table("items")),
        "audit_changes_table_time",
        21
    );
}

#[test]
fn a_timeline_of_a_schema() {
    pages_go_by!(
        timeline(TimelineFilter::new().schema("public")),
        "audit_changes_table_time",
        42
    );
}

#[test]
fn a_timeline_in_a_window() {
    let filter = TimelineFilter::new()
        .from("2026-01-01T01:00:00Z".parse().unwrap())
        .to("2026-01-01T02:00:00Z".parse().unwrap());
    pages_go_by!(timeline(filter.clone()), "audit_changes_time", 6);
    pages_go_by!(
        timeline(filter.table("items")),
        "audit_changes_table_time",
        21
    );
}

#[test]
fn a_timeline_of_a_row() {
    let filter = TimelineFilter::new().table("items").key([("id", 1000)]);
    pages_go_by!(timeline(filter), "audit_changes_pkey", 100);
}

#[test]
fn a_timeline_of_an_actor() {
    pages_go_by!(
        actor_timeline(ActorRef::user(42).unwrap()),
        "audit_transactions_actor",
        220
    );
}

/// As many as half of the log: the walk along the log meets them soon.
#[test]
fn a_timeline_of_an_actor_with_very_many_transactions() {
    let many = || ActorRef::system("importer").unwrap();
    let busy = || TimelineFilter::new().actor(many());
    let of = |filter: TimelineFilter| timeline(filter).limit(5).unwrap();
    goes_by(of(busy()), "audit_changes_time", 1001);
    goes_by(of(busy().table("others")), "audit_changes_table_time", 1001);
    pages_go_by!(actor_history(many()), "audit_transactions_actor", 25);
}

#[test]
fn transactions_of_an_actor() {
    pages_go_by!(
        actor_history(ActorRef::user(42).unwrap())
            .limit(10)
            .unwrap(),
        "audit_transactions_actor",
        25
    );
}

#[test]
fn a_correlation() {
    goes_by(
        correlation_bundle("corr-7"),
        "audit_transactions_correlation",
        120,
    );
    goes_by(
        correlation_bundle("corr-7"),
        "audit_actions_correlation",
        120,
    );
    goes_by(
        correlation_bundle("corr-7"),
        "audit_changes_transaction",
        120,
    );
    pages_go_by!(
        timeline(TimelineFilter::new().correlation_id("corr-7")),
        "audit_transactions_correlation",
        1000
    );
}

#[test]
fn a_request() {
    goes_by(
        timeline(TimelineFilter::new().request_id("r")),
        "audit_transactions_request",
        1,
    );
    goes_by(
        timeline(TimelineFilter::new().request_id("r")),
        "audit_actions_request",
        1,
    );
}

#[test]
fn a_transaction() {
    let id = page(
        &mut large().auditor(),
        &TimelineFilter::new(),
        false,
        1,
        None,
    )
    .entries[0]
        .transaction_id;
    goes_by(incident_bundle(id), "audit_changes_transaction", 20);
    goes_by(
        audit_changes_for_transaction(id),
        "audit_changes_transaction",
        20,
    );
    goes_by(
        timeline(TimelineFilter::new().transaction(id)),
        "audit_changes_transaction",
        20,
    );
}

/// An index scan begins at the cursor, also where a filter ends what is read.
#[test]
fn late_pages_read_no_more_than_the_first() {
    let window = TimelineFilter::new()
        .from("2026-01-01T00:10:00Z".parse().unwrap())
        .to("2026-01-01T02:40:00Z".parse().unwrap());
    for filter in [
        TimelineFilter::new(),
        TimelineFilter::new().table("items"),
        TimelineFilter::new().table("others"),
        window.clone(),
        window.clone().table("others"),
        window.schema("public"),
    ] {
        for oldest_first in [false, true] {
            let list = |limit| {
                let list = timeline(filter.clone()).limit(limit).unwrap();
                if oldest_first {
                    list.oldest_first()
                } else {
                    list
                }
            };
            let first = pages_read(list(20));
            let mut page = list(1000).get_result(&mut large().auditor()).unwrap();
            for _ in 0..14 {
                let at = list(1000).at(page.cursor.as_ref().unwrap()).unwrap();
                page = at.get_result(&mut large().auditor()).unwrap();
            }
            for cursor in [page.cursor.unwrap(), page.back.unwrap()] {
                let late = pages_read(list(20).at(&cursor).unwrap());
                assert!(
                    late <= first + 20,
                    "{late} pages, {first} for the first: {filter} {oldest_first}"
                );
            }
        }
    }
}
