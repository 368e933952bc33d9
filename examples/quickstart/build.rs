//! The migrations are embedded, and Cargo does not see them change by itself.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
