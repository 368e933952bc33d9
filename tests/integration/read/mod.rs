//! The typed read path: history and as-of queries against a server.
mod compose;
mod decode;
mod keys;
mod pools;
