//! The typed read path: history and as-of queries against a server.
mod as_of;
mod compose;
mod decode;
mod evolve;
mod keys;
mod pools;
mod redacted;
mod sql;
mod undecodable;
