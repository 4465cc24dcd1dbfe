use std::time::Duration;

/// Times longer than this are taken for mistakes.
const LONGEST: Duration = Duration::from_secs(600);

/// The words of a line, one after the other. What is expected and not there is said in words.
#[derive(Clone, Debug)]
pub(super) struct Words {
    words: Vec<String>,
    next: usize,
}

impl Words {
    /// Commas, semicolons, colons and parentheses are words of their own. Case means nothing.
    pub(super) fn of(line: &str) -> Self {
        let mut words = Vec::new();
        for piece in line.split_whitespace() {
            let mut word = String::new();
            for letter in piece.chars() {
                if ",;:()".contains(letter) {
                    words.extend((!word.is_empty()).then(|| std::mem::take(&mut word)));
                    words.push(letter.to_string());
                } else {
                    word.extend(letter.to_lowercase());
                }
            }
            words.extend((!word.is_empty()).then_some(word));
        }
        Self { words, next: 0 }
    }

    pub(super) fn is_over(&self) -> bool {
        self.next == self.words.len()
    }

    /// Whether these words come next; then they are taken.
    pub(super) fn take(&mut self, phrase: &str) -> bool {
        let mut next = self.next;
        for word in phrase.split(' ') {
            if self.words.get(next).is_none_or(|found| found != word) {
                return false;
            }
            next += 1;
        }
        self.next = next;
        true
    }

    /// The next word, whatever it is.
    pub(super) fn word(&mut self) -> Option<String> {
        let word = self.words.get(self.next)?.clone();
        self.next += 1;
        Some(word)
    }

    /// What is wrong where this was expected.
    pub(super) fn expected<T>(&self, what: &str) -> Result<T, String> {
        let found = match self.words.get(self.next) {
            Some(word) => format!("found {word:?}"),
            None => "the line ends".to_owned(),
        };
        match self.next {
            0 => Err(format!("expected {what}, {found}")),
            next => Err(format!("expected {what} after {:?}, {found}", self.words[next - 1])),
        }
    }

    /// These words must come next.
    pub(super) fn must(&mut self, phrase: &str) -> Result<(), String> {
        if self.take(phrase) { Ok(()) } else { self.expected(&format!("{phrase:?}")) }
    }

    /// Nothing must come any more.
    pub(super) fn end(&self) -> Result<(), String> {
        if self.is_over() { Ok(()) } else { self.expected("the end of the line") }
    }

    /// A whole number.
    pub(super) fn number(&mut self) -> Result<u64, String> {
        match self.words.get(self.next).and_then(|word| word.parse().ok()) {
            Some(number) => {
                self.next += 1;
                Ok(number)
            }
            None => self.expected("a whole number"),
        }
    }

    /// A time with its unit, `ms` or `s`.
    pub(super) fn time(&mut self) -> Result<Duration, String> {
        let before = self.clone();
        let number: Option<f64> = self.word().and_then(|word| word.parse().ok());
        let seconds = match (number, self.word().as_deref()) {
            (Some(number), Some("s")) => number,
            (Some(number), Some("ms")) => number / 1000.0,
            _ => return before.expected("a time such as 500 ms or 3 s"),
        };
        match Duration::try_from_secs_f64(seconds) {
            Ok(time) if time <= LONGEST => Ok(time),
            _ => before.expected("a time from 0 to 600 s"),
        }
    }
}
