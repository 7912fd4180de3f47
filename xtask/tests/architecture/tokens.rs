//! What Rust source names, by its tokens: comments and strings cannot mislead, and macros are looked into.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A path such as `std::sync::mpsc::channel`, with groups of `use` spelt out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    pub path: Vec<String>,
    pub line: usize,
    /// Called, and whether with arguments.
    pub call: Option<bool>,
    /// Stands after a dot.
    pub method: bool,
}

impl Named {
    pub(crate) fn last(&self) -> &str {
        self.path.last().map_or("", String::as_str)
    }
}

/// A condition of `cfg`, `cfg!` or `cfg_attr`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Condition {
    /// All identifiers in it.
    pub idents: Vec<String>,
    pub line: usize,
}

pub(crate) fn parse(source: &str) -> Result<Vec<TokenTree>, String> {
    source.parse::<TokenStream>().map(|stream| stream.into_iter().collect()).map_err(|error| error.to_string())
}

/// The tokens without items under `#[cfg(test)]`.
pub(crate) fn without_tests(tokens: Vec<TokenTree>) -> Vec<TokenTree> {
    let mut kept = vec![];
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let attribute = is_punct(Some(&token), '#').then(|| tokens.peek()).flatten();
        if attribute.is_some_and(|group| group.to_string().replace(' ', "") == "[cfg(test)]") {
            let ends =
                |token: &TokenTree| is_punct(Some(token), ';') || group_of(Some(token), Delimiter::Brace).is_some();
            tokens.by_ref().find(ends);
            continue;
        }
        kept.push(match token {
            TokenTree::Group(group) => {
                let inner = without_tests(group.stream().into_iter().collect());
                let mut copy = proc_macro2::Group::new(group.delimiter(), inner.into_iter().collect());
                copy.set_span(group.span());
                TokenTree::Group(copy)
            }
            other => other,
        });
    }
    kept
}

/// All paths that the tokens name.
pub(crate) fn named(tokens: &[TokenTree]) -> Vec<Named> {
    let mut found = vec![];
    collect(tokens, &[], &mut found);
    found
}

fn collect(tokens: &[TokenTree], prefix: &[String], found: &mut Vec<Named>) {
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Ident(ident) => {
                let method = at > 0 && is_punct(tokens.get(at - 1), '.');
                let line = ident.span().start().line;
                let mut path = prefix.to_vec();
                path.push(name(ident));
                at = follow(tokens, at + 1, &mut path, found);
                let call = group_of(tokens.get(at), Delimiter::Parenthesis).map(|arguments| !arguments.is_empty());
                found.push(Named { path, line, call, method });
            }
            TokenTree::Group(group) => {
                let inner: Vec<_> = group.stream().into_iter().collect();
                collect(&inner, &[], found);
                at += 1;
            }
            // `use std::{*}`: all of the prefix.
            TokenTree::Punct(punct) if punct.as_char() == '*' && !prefix.is_empty() => {
                let path = [prefix, &["*".to_owned()]].concat();
                found.push(Named { path, line: punct.span().start().line, call: None, method: false });
                at += 1;
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => at += 1,
        }
    }
}

/// Goes on behind a path's first name, and returns where the path ends.
fn follow(tokens: &[TokenTree], mut at: usize, path: &mut Vec<String>, found: &mut Vec<Named>) -> usize {
    while is_punct(tokens.get(at), ':') && is_punct(tokens.get(at + 1), ':') {
        match tokens.get(at + 2) {
            Some(TokenTree::Ident(ident)) => {
                path.push(name(ident));
                at += 3;
            }
            Some(TokenTree::Punct(punct)) if punct.as_char() == '*' => {
                path.push("*".to_owned());
                at += 3;
            }
            Some(TokenTree::Punct(punct)) if punct.as_char() == '<' => {
                let start = at + 3;
                at = behind_angle(tokens, start);
                collect(&tokens[start..at], &[], found);
            }
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                let inner: Vec<_> = group.stream().into_iter().collect();
                collect(&inner, path, found);
                at += 3;
            }
            _ => return at,
        }
    }
    at
}

/// The place behind the `>` that closes an angle bracket opened just before `at`.
fn behind_angle(tokens: &[TokenTree], mut at: usize) -> usize {
    let mut depth = 1;
    while at < tokens.len() && depth > 0 {
        let arrow = is_punct(tokens.get(at - 1), '-');
        if is_punct(tokens.get(at), '<') {
            depth += 1;
        } else if is_punct(tokens.get(at), '>') && !arrow {
            depth -= 1;
        }
        at += 1;
    }
    at
}

/// All conditions of conditional compilation.
pub(crate) fn conditions(tokens: &[TokenTree]) -> Vec<Condition> {
    let mut found = vec![];
    for (at, token) in tokens.iter().enumerate() {
        if let TokenTree::Group(group) = token {
            found.extend(conditions(&group.stream().into_iter().collect::<Vec<_>>()));
        }
        let TokenTree::Ident(ident) = token else { continue };
        let line = ident.span().start().line;
        let name = name(ident);
        let behind = if is_punct(tokens.get(at + 1), '!') { at + 2 } else { at + 1 };
        let Some(TokenTree::Group(group)) = tokens.get(behind) else {
            continue;
        };
        let condition: Vec<TokenTree> = match name.as_str() {
            "cfg" => group.stream().into_iter().collect(),
            "cfg_attr" => group.stream().into_iter().take_while(|token| !is_punct(Some(token), ',')).collect(),
            // Whole macros of conditions: no reading them would make them right.
            "cfg_if" | "cfg_select" if behind == at + 2 => {
                found.push(Condition { idents: vec![name], line });
                continue;
            }
            _ => continue,
        };
        found.push(Condition { idents: idents(condition), line });
    }
    found
}

fn idents(tokens: impl IntoIterator<Item = TokenTree>) -> Vec<String> {
    tokens
        .into_iter()
        .flat_map(|token| match token {
            TokenTree::Ident(ident) => vec![name(&ident)],
            TokenTree::Group(group) => idents(group.stream()),
            TokenTree::Punct(_) | TokenTree::Literal(_) => vec![],
        })
        .collect()
}

fn name(ident: &proc_macro2::Ident) -> String {
    let name = ident.to_string();
    name.strip_prefix("r#").map_or_else(|| name.clone(), str::to_owned)
}

fn is_punct(token: Option<&TokenTree>, wanted: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}

fn group_of(token: Option<&TokenTree>, delimiter: Delimiter) -> Option<TokenStream> {
    match token {
        Some(TokenTree::Group(group)) if group.delimiter() == delimiter => Some(group.stream()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(source: &str) -> Vec<String> {
        named(&without_tests(parse(source).unwrap())).iter().map(|named| named.path.join("::")).collect()
    }

    #[test]
    fn groups_are_spelt_out_and_text_is_not_code() {
        let found = paths(
            "use std::{fs, time::{Duration, Instant as Now}, io::*}; // std::thread\nconst A: &str = \"tokio::x\";",
        );
        for expected in ["std::fs", "std::time::Duration", "std::time::Instant", "std::io::*"] {
            assert!(found.contains(&expected.to_owned()), "{expected} in {found:?}");
        }
        assert!(!found.iter().any(|path| path.contains("thread") || path.contains("tokio")), "{found:?}");
    }

    #[test]
    fn macros_and_turbofish_are_looked_into() {
        let found = paths("fn f() { println!(\"{}\", std::fs::read(p)); a::b::<c::d<e>>::g(1) }");
        for expected in ["std::fs::read", "a::b::g", "c::d"] {
            assert!(found.contains(&expected.to_owned()), "{expected} in {found:?}");
        }
    }

    #[test]
    fn tests_are_left_out() {
        let found = paths("#[cfg(test)]\nmod tests { use std::fs; }\n#[cfg(test)] use tokio::x;\nuse kept::y;");
        assert_eq!(found.last().unwrap(), "kept::y");
        assert!(!found.iter().any(|path| path.contains("std") || path.contains("tokio")), "{found:?}");
    }
}
