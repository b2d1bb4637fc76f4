//! Compiles regular expressions and globs within size limits.
//!
//! One engine serves both. It simulates the expression instead of building a DFA: a DFA grows while it matches, is
//! limited per expression only, and gains nothing on names of at most 255 bytes.

use regex_automata::meta::Regex;
use regex_automata::nfa::thompson::{NFA, WhichCaptures};
use regex_automata::util::syntax;
use regex_syntax::hir::Hir;

use super::error::Mistake;
use super::limits::{MAX_COMPILED_BYTES, MAX_COMPILED_PATTERN, MAX_PATTERN_BYTES, MAX_PATTERNS};

/// The memory of a compiled list besides its automaton.
const MATCHER_OVERHEAD: usize = 1 << 10;

/// What is left of the limits.
#[derive(Debug)]
pub(crate) struct PatternLimits {
    patterns: usize,
    bytes: usize,
}

impl Default for PatternLimits {
    fn default() -> Self {
        Self { patterns: MAX_PATTERNS, bytes: MAX_COMPILED_BYTES }
    }
}

/// A list of expressions or globs, one of which must match.
#[derive(Debug, Clone)]
pub(super) struct Matcher(Regex);

impl Matcher {
    pub(super) fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text)
    }

    /// Returns what the first capture group matched, empty if it took no part. `None` if the expression does not match.
    pub(super) fn capture<'a>(&self, text: &'a str) -> Option<&'a str> {
        let mut captures = self.0.create_captures();
        self.0.captures(text, &mut captures);
        captures.is_match().then(|| captures.get_group(1).map_or("", |span| &text[span.range()]))
    }

    /// Returns the number of capture groups.
    pub(super) fn groups(&self) -> usize {
        self.0.captures_len() - 1
    }
}

impl PatternLimits {
    /// Compiles expressions that match anywhere in a text.
    pub(super) fn expressions(&mut self, key: &'static str, patterns: &[String]) -> Result<Matcher, Mistake> {
        self.compile_expressions(key, patterns, WhichCaptures::Implicit)
    }

    /// Compiles an expression with capture groups.
    pub(super) fn capturing(&mut self, key: &'static str, pattern: &str) -> Result<Matcher, Mistake> {
        self.compile_expressions(key, &[pattern.to_owned()], WhichCaptures::All)
    }

    fn compile_expressions(
        &mut self,
        key: &'static str,
        patterns: &[String],
        captures: WhichCaptures,
    ) -> Result<Matcher, Mistake> {
        let mut compiler = Compiler::new(self, key, captures);
        for pattern in patterns {
            compiler.admit(pattern)?;
            compiler.add(pattern, parse_expression(key, pattern)?)?;
        }
        compiler.finish()
    }

    /// Compiles globs that match a whole text. Checks each of them first.
    pub(super) fn globs(&mut self, key: &'static str, globs: &[Glob<'_>]) -> Result<Matcher, Mistake> {
        let mut compiler = Compiler::new(self, key, WhichCaptures::Implicit);
        for glob in globs {
            compiler.admit(glob.written)?;
            compiler.add(glob.written, glob.parse(key)?)?;
        }
        compiler.finish()
    }
}

/// A glob as written. The `!` of an exception is not part of the pattern.
#[derive(Debug, Clone, Copy)]
pub(super) struct Glob<'a> {
    pub(super) written: &'a str,
    /// Whether `*` and `?` stop at a slash.
    pub(super) stops_at_slash: bool,
}

impl Glob<'_> {
    fn parse(&self, key: &'static str) -> Result<Hir, Mistake> {
        let wrong = |why: String| Mistake::Glob { key, pattern: self.written.to_owned(), why };
        let text = self.written.strip_prefix('!').unwrap_or(self.written);
        if text.is_empty() {
            return Err(wrong("it is empty".into()));
        }
        let mut builder = globset::GlobBuilder::new(text);
        builder.literal_separator(self.stops_at_slash).backslash_escape(true);
        let glob = builder.build().map_err(|error| wrong(error.kind().to_string()))?;
        let config = syntax::Config::new().utf8(false).dot_matches_new_line(true);
        syntax::parse_with(glob.regex(), &config).map_err(|error| wrong(last_line(&error)))
    }
}

/// Tags are ASCII, where classes such as `\w` mean the same without Unicode and are a hundred times smaller. Only
/// expressions that can't be parsed without Unicode, such as `\p{L}`, are parsed with it.
fn parse_expression(key: &'static str, pattern: &str) -> Result<Hir, Mistake> {
    let parse = |unicode| {
        let config = syntax::Config::new().unicode(unicode).utf8(false);
        syntax::parse_with(pattern, &config).map_err(|error| last_line(&error))
    };
    let parsed = parse(false).or_else(|_| parse(true));
    parsed.map_err(|why| Mistake::Regex { key, pattern: pattern.to_owned(), why })
}

/// Returns the message of the error; the lines before it draw the position.
fn last_line(error: &regex_syntax::Error) -> String {
    error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

/// Compiles one list and charges it to the limits.
struct Compiler<'a> {
    limits: &'a mut PatternLimits,
    key: &'static str,
    captures: WhichCaptures,
    parsed: Vec<Hir>,
    /// The compiled size of the patterns added so far, each by itself.
    size: usize,
}

impl<'a> Compiler<'a> {
    fn new(limits: &'a mut PatternLimits, key: &'static str, captures: WhichCaptures) -> Self {
        Self { limits, key, captures, parsed: Vec::new(), size: MATCHER_OVERHEAD }
    }

    /// Does the cheap checks before a pattern is parsed.
    fn admit(&mut self, pattern: &str) -> Result<(), Mistake> {
        if pattern.len() > MAX_PATTERN_BYTES {
            return Err(Mistake::LongPattern { key: self.key, bytes: pattern.len() });
        }
        self.limits.patterns = self.limits.patterns.checked_sub(1).ok_or(Mistake::Patterns)?;
        Ok(())
    }

    /// Compiles a pattern by itself, so that an error names the pattern that is too large before the list is built.
    fn add(&mut self, pattern: &str, parsed: Hir) -> Result<(), Mistake> {
        let left = self.limits.bytes.saturating_sub(self.size);
        let config = NFA::config()
            .utf8(false)
            .nfa_size_limit(Some(left.min(MAX_COMPILED_PATTERN)))
            .which_captures(self.captures);
        let compiled = NFA::compiler().configure(config).build_from_hir(&parsed);
        let Ok(compiled) = compiled else {
            return Err(if left < MAX_COMPILED_PATTERN {
                Mistake::CompiledSum(self.key)
            } else {
                Mistake::CompiledSize { key: self.key, pattern: shorten(pattern) }
            });
        };
        self.size += compiled.memory_usage();
        self.parsed.push(parsed);
        Ok(())
    }

    fn finish(self) -> Result<Matcher, Mistake> {
        let config = Regex::config()
            .utf8_empty(false)
            .auto_prefilter(false)
            .hybrid(false)
            .dfa(false)
            .onepass(false)
            .nfa_size_limit(Some(self.limits.bytes))
            .which_captures(self.captures);
        let regex = Regex::builder().configure(config).build_many_from_hir(&self.parsed);
        let regex = regex.map_err(|_| Mistake::CompiledSum(self.key))?;
        let size = self.size.max(MATCHER_OVERHEAD + regex.memory_usage());
        self.limits.bytes = self.limits.bytes.checked_sub(size).ok_or(Mistake::CompiledSum(self.key))?;
        Ok(Matcher(regex))
    }
}

/// Returns the start of a pattern, for messages.
fn shorten(pattern: &str) -> String {
    const MAX_CHARS: usize = 80;
    let mut shown: String = pattern.chars().take(MAX_CHARS).collect();
    if shown.len() < pattern.len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expressions(patterns: &[&str]) -> Result<Matcher, Mistake> {
        let patterns: Vec<_> = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        PatternLimits::default().expressions("tag_regex", &patterns)
    }

    #[test]
    fn any_expression_may_match() {
        let list = expressions(&["^v", r"\d$"]).expect("expressions");
        assert!(list.is_match("v") && list.is_match("a1") && !list.is_match("a"));
    }

    #[test]
    fn classes_compile_to_ascii_size() {
        for pattern in [r"^\w{1,128}$", r"(?i)^[a-z]+-\d{4}-\d{2}$", r"^[^x]{1,128}$"] {
            let mut limits = PatternLimits::default();
            limits.expressions("tag_regex", &[pattern.to_owned()]).expect(pattern);
            assert!(MAX_COMPILED_BYTES - limits.bytes < 64 << 10, "{pattern}: {limits:?}");
        }
        let unicode = expressions(&[r"^\p{Lu}+$"]).expect("an expression that needs Unicode");
        assert!(unicode.is_match("ABC") && !unicode.is_match("abc"));
    }

    #[test]
    fn unused_capture_group_is_empty() {
        let per = PatternLimits::default().capturing("per", r"^(?:([a-z]+)-)?\d+$").expect("an expression");
        assert_eq!(per.groups(), 1);
        assert_eq!(
            (per.capture("main-1"), per.capture("1"), per.capture("x")),
            (Some("main"), Some(""), None)
        );
    }

    #[test]
    fn limits_pattern_length_and_compiled_size() {
        let long = "a".repeat(MAX_PATTERN_BYTES + 1);
        assert!(matches!(expressions(&[&long]), Err(Mistake::LongPattern { bytes: 4097, .. })));
        for large in ["(?:(?:a{100}){100}){100}", r"(?u)\w{1000}", "(?:){4000000000}a{100000}"] {
            assert!(matches!(expressions(&["a", large]), Err(Mistake::CompiledSize { .. })), "{large}");
        }
    }

    #[test]
    fn limits_number_and_compiled_size_of_all_patterns() {
        let mut limits = PatternLimits::default();
        let many = vec!["a".to_owned(); 1000];
        let mut compile = || limits.expressions("tag_regex", &many);
        for _ in 0..10 {
            compile().expect("within the limit");
        }
        assert!(matches!(compile(), Err(Mistake::Patterns)));

        let mut limits = PatternLimits::default();
        let large = ["[^x]{2000}N".to_owned()];
        let refused = (0..400).find_map(|_| limits.expressions("tag_regex", &large).err());
        assert!(matches!(refused, Some(Mistake::CompiledSum("tag_regex"))), "{refused:?}");
    }
}
