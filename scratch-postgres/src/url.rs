use std::path::Path;

/// A URL that both libpq and tokio-postgres read: the folder of the socket, encoded, as the host.
/// The port names the socket file; without it, `PGPORT` would have a say.
pub(crate) fn socket(dir: &Path, role: &str, database: &str) -> String {
    format!(
        "postgresql://{}@{}:5432/{}",
        encode(role),
        encode(&dir.to_string_lossy()),
        encode(database)
    )
}

fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_encoded() {
        assert_eq!(
            socket(Path::new("/tmp/x-1"), "o'neil@work", "50% ä"),
            "postgresql://o%27neil%40work@%2Ftmp%2Fx-1:5432/50%25%20%C3%A4"
        );
    }
}
