//! Generated Diesel queries over two tables.

use bigdecimal::BigDecimal;
use chrono::{DateTime, Utc};
use diesel::dsl::{count_star, exists, max, not, sum};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use proptest::collection::vec;
use proptest::prelude::*;
use threadline::QueryAsOf;
use threadline_tests::explain::{Plan, explain};

diesel::table! { accounts (id) { id -> BigInt, owner -> Text, balance -> Integer, note -> Nullable<Text>, } }
diesel::table! { entries (id) { id -> BigInt, account_id -> BigInt, amount -> Numeric, kind -> Text, } }
diesel::joinable!(entries -> accounts (account_id));
diesel::allow_tables_to_appear_in_same_query!(accounts, entries);

/// What is asked of the accounts.
#[derive(Debug, Clone)]
pub enum Account {
    BalanceOver(i32),
    OwnedBy(&'static str),
    Noted,
    OneOf(Vec<i64>),
    HasEntriesOver(i32),
    IsNamedByEntries(&'static str),
    RicherThanAll(&'static str),
    Not(Box<Account>),
    Either(Box<Account>, Box<Account>),
}

/// What is asked of the entries.
#[derive(Debug, Clone)]
pub enum Entry {
    AmountOver(i32),
    Kind(&'static str),
    OfAccountOver(i32),
    Not(Box<Entry>),
}

/// What is selected, and how.
#[derive(Debug, Clone)]
pub enum Question {
    Accounts {
        filters: Vec<Account>,
        page: Option<(i64, i64)>,
    },
    CountAccounts(Vec<Account>),
    Entries {
        filters: Vec<Entry>,
        page: Option<(i64, i64)>,
    },
    SumEntries(Vec<Entry>),
    Joined(Vec<Account>, Vec<Entry>),
    LeftJoined(Vec<Account>),
    GroupedByOwner {
        filters: Vec<Account>,
        more_than: i64,
    },
    TotalsByAccount(Vec<Entry>),
    Pairs {
        same_owner: bool,
    },
    DistinctOwners(Vec<Account>),
    Union(Vec<Account>, Vec<Entry>),
}

impl Question {
    /// Whether its answer takes a look at every pair of rows, of whatever tables.
    pub fn is_about_pairs(&self) -> bool {
        let asked = format!("{self:?}");
        asked.starts_with("Pairs") || asked.contains("RicherThanAll")
    }
}

fn account() -> impl Strategy<Value = Account> {
    let leaf = prop_oneof![
        (-5..60).prop_map(Account::BalanceOver),
        name().prop_map(Account::OwnedBy),
        Just(Account::Noted),
        vec(1..12_i64, 0..5).prop_map(Account::OneOf),
        (-5..60).prop_map(Account::HasEntriesOver),
        kind().prop_map(Account::IsNamedByEntries),
        name().prop_map(Account::RicherThanAll),
    ];
    leaf.prop_recursive(2, 4, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|one| Account::Not(Box::new(one))),
            (inner.clone(), inner)
                .prop_map(|(one, other)| Account::Either(Box::new(one), Box::new(other))),
        ]
    })
}

fn entry() -> impl Strategy<Value = Entry> {
    let leaf = prop_oneof![
        (-5..60).prop_map(Entry::AmountOver),
        kind().prop_map(Entry::Kind),
        (-5..60).prop_map(Entry::OfAccountOver),
    ];
    leaf.prop_recursive(1, 2, 1, |inner| {
        inner.prop_map(|one| Entry::Not(Box::new(one)))
    })
}

fn name() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("ada"), Just("bob"), Just("cy")]
}

fn kind() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("in"), Just("out")]
}

pub fn question() -> impl Strategy<Value = Question> {
    let accounts = || vec(account(), 0..3);
    let entries = || vec(entry(), 0..3);
    let page = || proptest::option::of((1..5_i64, 0..4_i64));
    prop_oneof![
        (accounts(), page()).prop_map(|(filters, page)| Question::Accounts { filters, page }),
        accounts().prop_map(Question::CountAccounts),
        (entries(), page()).prop_map(|(filters, page)| Question::Entries { filters, page }),
        entries().prop_map(Question::SumEntries),
        (accounts(), entries()).prop_map(|(accounts, entries)| Question::Joined(accounts, entries)),
        accounts().prop_map(Question::LeftJoined),
        (accounts(), 0..3_i64)
            .prop_map(|(filters, more_than)| Question::GroupedByOwner { filters, more_than }),
        entries().prop_map(Question::TotalsByAccount),
        any::<bool>().prop_map(|same_owner| Question::Pairs { same_owner }),
        accounts().prop_map(Question::DistinctOwners),
        (accounts(), entries()).prop_map(|(accounts, entries)| Question::Union(accounts, entries)),
    ]
}

type Condition<'a, From> = Box<dyn BoxableExpression<From, Pg, SqlType = Bool> + 'a>;

diesel::alias! {
    const OTHER: Alias<Other> = accounts as other_account;
    const ENTRY: Alias<AnEntry> = entries as an_entry;
}

/// The conditions of accounts, for each FROM that they may stand in.
macro_rules! account_conditions {
    ($($name:ident: $from:ty;)*) => { $(
        fn $name(asked: &Account) -> Condition<'_, $from> {
            match asked {
                Account::BalanceOver(limit) => Box::new(accounts::balance.gt(limit)),
                Account::OwnedBy(owner) => Box::new(accounts::owner.eq(*owner)),
                Account::Noted => Box::new(accounts::note.is_not_null()),
                Account::OneOf(ids) => Box::new(accounts::id.eq_any(ids)),
                Account::HasEntriesOver(limit) => Box::new(exists(
                    ENTRY
                        .filter(ENTRY.field(entries::account_id).eq(accounts::id))
                        .filter(ENTRY.field(entries::amount).gt(BigDecimal::from(*limit))),
                )),
                Account::IsNamedByEntries(kind) => Box::new(
                    accounts::id.eq_any(ENTRY.filter(ENTRY.field(entries::kind).eq(*kind)).select(ENTRY.field(entries::account_id))),
                ),
                Account::RicherThanAll(owner) => Box::new(not(exists(
                    OTHER
                        .filter(OTHER.field(accounts::owner).eq(*owner))
                        .filter(OTHER.field(accounts::balance).ge(accounts::balance)),
                ))),
                Account::Not(asked) => Box::new(not($name(asked))),
                Account::Either(one, other) => Box::new($name(one).or($name(other))),
            }
        }
    )* };
}

macro_rules! entry_conditions {
    ($($name:ident: $from:ty;)*) => { $(
        fn $name(asked: &Entry) -> Condition<'_, $from> {
            match asked {
                Entry::AmountOver(limit) => Box::new(entries::amount.gt(BigDecimal::from(*limit))),
                Entry::Kind(kind) => Box::new(entries::kind.eq(*kind)),
                Entry::OfAccountOver(limit) => Box::new(
                    entries::account_id.eq_any(OTHER.filter(OTHER.field(accounts::balance).gt(limit)).select(OTHER.field(accounts::id))),
                ),
                Entry::Not(asked) => Box::new(not($name(asked))),
            }
        }
    )* };
}

type Joined = diesel::dsl::InnerJoinQuerySource<entries::table, accounts::table>;
type LeftJoined = diesel::dsl::LeftJoinQuerySource<accounts::table, entries::table>;

account_conditions! {
    of_accounts: accounts::table;
    of_joined_accounts: Joined;
    of_left_joined: LeftJoined;
}

entry_conditions! {
    of_entries: entries::table;
    of_joined_entries: Joined;
}

/// How a question is asked.
#[derive(Clone, Copy)]
enum Ask {
    Now,
    AsOf(DateTime<Utc>),
    /// As of a moment, with EXPLAIN.
    Explain(DateTime<Utc>),
}

enum Answer {
    /// The rows as text.
    Rows(Vec<String>),
    Plan(Plan),
}

macro_rules! load {
    ($query:expr, $ask:expr, $conn:expr, $row:ty) => {{
        let rows = match $ask {
            Ask::Now => $query.load::<$row>($conn),
            Ask::AsOf(moment) => $query.as_of(moment).load::<$row>($conn),
            Ask::Explain(moment) => return Answer::Plan(explain($conn, $query.as_of(moment))),
        };
        let rows = rows.unwrap().into_iter();
        Answer::Rows(rows.map(|row| format!("{row:?}")).collect())
    }};
}

type AccountRow = (i64, String, i32, Option<String>);
type EntryRow = (i64, i64, BigDecimal, String);

/// Asks the tables as they are, or as of a moment.
pub fn ask(
    question: &Question,
    moment: Option<DateTime<Utc>>,
    conn: &mut PgConnection,
) -> Vec<String> {
    match answer(question, moment.map_or(Ask::Now, Ask::AsOf), conn) {
        Answer::Rows(mut rows) => {
            if let Question::Union(..) = question {
                rows.sort();
            }
            rows
        }
        Answer::Plan(plan) => panic!("asked for rows: {plan}"),
    }
}

/// What the server does to answer as of a moment.
pub fn plan(question: &Question, moment: DateTime<Utc>, conn: &mut PgConnection) -> Plan {
    match answer(question, Ask::Explain(moment), conn) {
        Answer::Plan(plan) => plan,
        Answer::Rows(rows) => panic!("asked for the plan: {rows:?}"),
    }
}

fn answer(question: &Question, ask: Ask, conn: &mut PgConnection) -> Answer {
    match question {
        Question::Accounts { filters, page } => {
            let mut query = accounts::table.order(accounts::id).into_boxed();
            for filter in filters {
                query = query.filter(of_accounts(filter));
            }
            if let Some((limit, offset)) = page {
                query = query.limit(*limit).offset(*offset);
            }
            load!(query, ask, conn, AccountRow)
        }
        Question::CountAccounts(filters) => {
            let mut query = accounts::table.count().into_boxed();
            for filter in filters {
                query = query.filter(of_accounts(filter));
            }
            load!(query, ask, conn, i64)
        }
        Question::Entries { filters, page } => {
            let mut query = entries::table.order(entries::id.desc()).into_boxed();
            for filter in filters {
                query = query.filter(of_entries(filter));
            }
            if let Some((limit, offset)) = page {
                query = query.limit(*limit).offset(*offset);
            }
            load!(query, ask, conn, EntryRow)
        }
        Question::SumEntries(filters) => {
            let mut query = entries::table
                .select((sum(entries::amount), max(entries::id)))
                .into_boxed();
            for filter in filters {
                query = query.filter(of_entries(filter));
            }
            load!(query, ask, conn, (Option<BigDecimal>, Option<i64>))
        }
        Question::Joined(of_the_account, of_the_entry) => {
            let mut query = entries::table
                .inner_join(accounts::table)
                .select((entries::id, accounts::owner, entries::amount))
                .order(entries::id)
                .into_boxed();
            for filter in of_the_account {
                query = query.filter(of_joined_accounts(filter));
            }
            for filter in of_the_entry {
                query = query.filter(of_joined_entries(filter));
            }
            load!(query, ask, conn, (i64, String, BigDecimal))
        }
        Question::LeftJoined(filters) => {
            let mut query = accounts::table
                .left_join(entries::table)
                .select((accounts::id, accounts::note, entries::kind.nullable()))
                .order((accounts::id, entries::id))
                .into_boxed();
            for filter in filters {
                query = query.filter(of_left_joined(filter));
            }
            load!(query, ask, conn, (i64, Option<String>, Option<String>))
        }
        Question::GroupedByOwner { filters, more_than } => {
            let mut query = accounts::table
                .group_by(accounts::owner)
                .having(count_star().gt(more_than))
                .select((accounts::owner, sum(accounts::balance), count_star()))
                .order(accounts::owner)
                .into_boxed();
            for filter in filters {
                query = query.filter(of_accounts(filter));
            }
            load!(query, ask, conn, (String, Option<i64>, i64))
        }
        Question::TotalsByAccount(filters) => {
            let mut query = entries::table
                .inner_join(accounts::table)
                .group_by((accounts::id, accounts::owner))
                .select((accounts::id, accounts::owner, sum(entries::amount)))
                .order(accounts::id)
                .into_boxed();
            for filter in filters {
                query = query.filter(of_joined_entries(filter));
            }
            load!(query, ask, conn, (i64, String, Option<BigDecimal>))
        }
        Question::Pairs { same_owner } => {
            let query = accounts::table
                .inner_join(OTHER.on(OTHER.field(accounts::id).gt(accounts::id)))
                .filter(
                    OTHER
                        .field(accounts::owner)
                        .eq(accounts::owner)
                        .eq(*same_owner),
                )
                .order((accounts::id, OTHER.field(accounts::id)))
                .select((
                    accounts::id,
                    OTHER.field(accounts::id),
                    accounts::balance + OTHER.field(accounts::balance),
                ));
            load!(query, ask, conn, (i64, i64, i32))
        }
        Question::DistinctOwners(filters) => {
            let mut query = accounts::table
                .select(accounts::owner)
                .distinct()
                .order(accounts::owner)
                .into_boxed();
            for filter in filters {
                query = query.filter(of_accounts(filter));
            }
            load!(query, ask, conn, String)
        }
        Question::Union(of_the_account, of_the_entry) => {
            let mut one = accounts::table.select(accounts::id).into_boxed();
            for filter in of_the_account {
                one = one.filter(of_accounts(filter));
            }
            let mut other = entries::table.select(entries::account_id).into_boxed();
            for filter in of_the_entry {
                other = other.filter(of_entries(filter));
            }
            load!(one.union(other), ask, conn, i64)
        }
    }
}
