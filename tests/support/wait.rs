use std::thread::sleep;
use std::time::{Duration, Instant};

/// Asks again until there is an answer. After a minute, which no machine is too slow for, it fails instead of waiting for
/// ever.
pub fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited a minute for {what}");
        sleep(Duration::from_millis(5));
    }
}
