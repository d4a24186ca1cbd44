//! Tells the code, the comments and the string literals of a Rust source apart.
//!
//! A rule about code must not stumble over a word in a comment, and a rule about messages must not
//! be satisfied by one. This is a scanner of a page, not a parser: it knows the forms of comments,
//! strings and characters, and nothing else of the language.

/// What a line holds, by layer; the other layers of the line are blank in each.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) code: String,
    pub(crate) comment: String,
    pub(crate) string: String,
}

#[derive(Clone, Copy)]
enum State {
    Code,
    LineComment,
    BlockComment { depth: u32 },
    String,
    RawString { hashes: usize },
}

/// The lines of a source in order.
pub(crate) fn split(source: &str) -> Vec<Line> {
    let chars: Vec<char> = source.chars().collect();
    let mut lines = vec![Line::default()];
    let mut state = State::Code;
    let mut at = 0;
    while at < chars.len() {
        let rest = &chars[at..];
        if rest[0] == '\n' {
            if matches!(state, State::LineComment) {
                state = State::Code;
            }
            lines.push(Line::default());
            at += 1;
            continue;
        }
        let layer = state;
        let (taken, next) = step(state, rest, at.checked_sub(1).map(|before| chars[before]));
        for &c in &rest[..taken] {
            let Some(line) = lines.last_mut() else { break };
            // The delimiter that opens a comment or a string belongs to it.
            match (layer, next) {
                (State::Code, State::Code) => line.code.push(c),
                (State::LineComment | State::BlockComment { .. }, _)
                | (State::Code, State::LineComment | State::BlockComment { .. }) => line.comment.push(c),
                (State::String | State::RawString { .. }, _)
                | (State::Code, State::String | State::RawString { .. }) => line.string.push(c),
            }
        }
        at += taken;
        state = next;
    }
    lines
}

/// How many characters go on together (none of them a line end), and the state behind them.
fn step(state: State, rest: &[char], before: Option<char>) -> (usize, State) {
    let second = rest.get(1).copied();
    match state {
        State::Code => step_in_code(rest, before),
        State::LineComment => (1, state),
        State::BlockComment { depth } => match (rest[0], second) {
            ('/', Some('*')) => (2, State::BlockComment { depth: depth + 1 }),
            ('*', Some('/')) if depth == 1 => (2, State::Code),
            ('*', Some('/')) => (2, State::BlockComment { depth: depth - 1 }),
            _ => (1, state),
        },
        State::String => match (rest[0], second) {
            ('\\', Some(escaped)) if escaped != '\n' => (2, state),
            ('"', _) => (1, State::Code),
            _ => (1, state),
        },
        State::RawString { hashes } => {
            let closes = rest[0] == '"' && rest[1..].iter().take_while(|&&c| c == '#').count() >= hashes;
            if closes { (1 + hashes, State::Code) } else { (1, state) }
        }
    }
}

fn step_in_code(rest: &[char], before: Option<char>) -> (usize, State) {
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    match (rest[0], rest.get(1).copied()) {
        ('/', Some('/')) => (2, State::LineComment),
        ('/', Some('*')) => (2, State::BlockComment { depth: 1 }),
        ('"', _) => (1, State::String),
        ('r', Some('"' | '#')) if !in_word || before == Some('b') => {
            let hashes = rest[1..].iter().take_while(|&&c| c == '#').count();
            match rest.get(1 + hashes) {
                Some('"') => (2 + hashes, State::RawString { hashes }),
                // A raw identifier.
                _ => (1, State::Code),
            }
        }
        ('\'', Some('\\')) => {
            let length = rest.iter().skip(3).position(|&c| c == '\'').map_or(1, |end| end + 4);
            (length, State::Code)
        }
        // A character; otherwise it is a lifetime.
        ('\'', Some(c)) if c != '\n' && rest.get(2) == Some(&'\'') => (3, State::Code),
        _ => (1, State::Code),
    }
}

/// The first line (from 0) of the tests at the end of a source, or its line count when there are none.
pub(crate) fn tests_begin(path: &str, lines: &[Line]) -> usize {
    let all_tests = path.contains("/tests/") || path.ends_with("/tests.rs");
    if all_tests {
        return 0;
    }
    let opens = |at: usize| {
        lines[at].code.trim() == "#[cfg(test)]"
            && lines[at..].iter().skip(1).take(2).any(|line| line.code.trim_start().starts_with("mod "))
    };
    (0..lines.len()).find(|&at| opens(at)).unwrap_or(lines.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_of_a_line_are_told_apart() {
        let lines = split("let a = \"x // y\"; // z \"w\"\n");
        assert_eq!(lines[0].code, "let a = ; ");
        assert_eq!(lines[0].string, "\"x // y\"");
        assert_eq!(lines[0].comment, "// z \"w\"");
    }

    #[test]
    fn a_quote_as_a_character_opens_no_string() {
        let lines = split("f('\"', '\\'', 'a'); g::<'a>(\"s\")");
        assert_eq!(lines[0].string, "\"s\"");
    }

    #[test]
    fn a_raw_string_ends_at_its_own_mark() {
        let lines = split("let a = r#\"one \" two\nthree\"#; let r#type = 1;");
        assert_eq!(lines[0].code, "let a = ");
        assert_eq!(lines[1].string, "three\"#");
        assert_eq!(lines[1].code, "; let r#type = 1;");
    }

    #[test]
    fn block_comments_nest() {
        let lines = split("a /* b /* c */ d\n e */ f");
        assert_eq!(lines[0].code, "a ");
        assert_eq!(lines[1].code, " f");
    }

    #[test]
    fn a_string_over_two_lines_goes_on() {
        let lines = split("let a = \"one \\\n   two\"; b();");
        assert_eq!(lines[1].code, "; b();");
    }

    #[test]
    fn a_single_test_only_item_does_not_begin_the_tests() {
        let lines = split("#[cfg(test)]\nfn only() {}\n\n#[cfg(test)]\nmod tests {\n}\n");
        assert_eq!(tests_begin("src/a.rs", &lines), 3);
    }
}
