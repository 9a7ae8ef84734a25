//! What the documents name is there: tests, files, and the ends of links.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What a build or a run leaves in the checkout, and what is no part of it.
const MADE: [&str; 6] = ["target", ".git", ".venv", ".aws-sam", ".local", "corpus"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every file and folder of the repository, from its root.
fn repository() -> BTreeSet<PathBuf> {
    let (root, mut found) = (root(), BTreeSet::new());
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if MADE.iter().any(|made| entry.file_name() == *made) {
                continue;
            }
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            }
            found.insert(entry.path().strip_prefix(&root).unwrap().to_owned());
        }
    }
    found
}

/// The documents: where each stands, and its text.
fn documents() -> Vec<(PathBuf, String)> {
    let document = |path: &PathBuf| {
        let folder = path.parent().unwrap();
        let named = ["README.md", "ARCHITECTURE.md"].iter().any(|name| path == Path::new(name));
        named || folder == Path::new("docs") && path.extension().is_some_and(|extension| extension == "md")
    };
    let documents: Vec<_> = repository().into_iter().filter(document).collect();
    assert!(documents.len() >= 3, "{documents:?}");
    documents.into_iter().map(|path| (path.clone(), std::fs::read_to_string(root().join(path)).unwrap())).collect()
}

/// A document without its blocks of code.
fn prose(text: &str) -> String {
    let mut within = false;
    let outside = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        within ^= fence;
        !within && !fence
    });
    outside.collect::<Vec<_>>().join("\n")
}

/// What stands in backticks.
fn quoted(prose: &str) -> impl Iterator<Item = &str> {
    prose.split('`').skip(1).step_by(2)
}

/// What a document links to, as it is written.
fn links(prose: &str) -> impl Iterator<Item = &str> {
    prose.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0))
}

/// The tests of a source, by their names in `module`.
fn tests_in<'s>(module: &str, source: &'s str) -> impl Iterator<Item = String> + use<'s> {
    let (module, mut marked) = (module.to_owned(), None);
    source.lines().filter_map(move |line| {
        let code = line.trim_start();
        if code.starts_with("#[test]") || code.starts_with("#[tokio::test") {
            // A test that is not of the file itself is of its `mod tests`.
            marked = Some(line.len() > code.len());
            return None;
        }
        let name = code.trim_start_matches("async ").strip_prefix("fn ")?.split('(').next()?;
        let inner = if marked.take()? { "tests::" } else { "" };
        Some(format!("{module}{inner}{name}"))
    })
}

/// Every test as libtest names it, and the modules that hold them.
fn tests() -> (BTreeSet<String>, BTreeSet<String>) {
    let mut tests = BTreeSet::new();
    for path in repository().iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs")) {
        let text = path.to_str().unwrap();
        let (folder, module) = ["tests/suite/", "shared/src/", "local/src/", "local/tests/"]
            .into_iter()
            .find_map(|folder| Some((folder, text.strip_prefix(folder)?.strip_suffix(".rs")?)))
            .unwrap_or_default();
        let parts = module.split('/').filter(|part| !["", "mod", "lib", "main"].contains(part));
        let module: String = parts.map(|part| format!("{part}::")).collect();
        if !folder.is_empty() {
            tests.extend(tests_in(&module, &std::fs::read_to_string(root().join(path)).unwrap()));
        }
    }
    let modules = tests.iter().filter_map(|test| Some(test.rsplit_once("::")?.0.to_owned())).collect();
    (tests, modules)
}

/// Names of tests in backticks that no test has.
fn unknown_tests(text: &str) -> Vec<String> {
    let (tests, modules) = tests();
    let word =
        |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c.is_numeric() || c == '_');
    let prose = prose(text);
    let named = quoted(&prose).filter_map(|quote| {
        // `suite::…` and `suite::` stand for all of a suite.
        let (module, test) = quote.rsplit_once("::")?;
        let whole = ["", "…"].contains(&test);
        let looks = module.split("::").all(word) && (whole || word(test));
        (looks && !if whole { modules.contains(module) } else { tests.contains(quote) }).then(|| quote.to_owned())
    });
    named.collect()
}

/// Paths in backticks, and relative links, that lead nowhere in the repository.
fn broken_paths(document: &Path, text: &str) -> Vec<String> {
    let repository = repository();
    let prose = prose(text);
    let exists = |path: &str| repository.iter().any(|found| found.ends_with(path.trim_end_matches('/')));
    let is_path = |quote: &str| {
        let first = quote.split('/').next().unwrap_or_default();
        let name = quote.rsplit('/').next().unwrap_or_default();
        let plain = quote.chars().all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c));
        let extension = [".rs", ".md", ".toml", ".yaml", ".yml", ".json", ".lock", ".txt", ".csv", ".sh"]
            .iter()
            .any(|extension| name.len() > extension.len() && name.ends_with(extension));
        let rooted = quote.contains('/') && repository.contains(Path::new(first));
        plain && !first.is_empty() && !MADE.contains(&first) && (extension || rooted || quote.ends_with('/'))
    };
    let quoted = quoted(&prose).filter(|quote| is_path(quote) && !exists(quote));
    let links = links(&prose).filter(|link| {
        let (path, _) = link.split_once('#').unwrap_or((link, ""));
        let outside = path.contains("://") || path.starts_with("mailto:");
        !outside && !path.is_empty() && !root().join(document).with_file_name("").join(path).exists()
    });
    quoted.chain(links).map(str::to_owned).collect()
}

#[test]
fn every_test_that_a_document_names_exists() {
    for (document, text) in documents() {
        assert_eq!(unknown_tests(&text), [""; 0], "{}", document.display());
    }
}

#[test]
fn every_file_that_a_document_names_or_links_to_exists() {
    for (document, text) in documents() {
        assert_eq!(broken_paths(&document, &text), [""; 0], "{}", document.display());
    }
}

#[test]
fn a_name_that_leads_nowhere_is_found() {
    let text = "`docs::no_such_test` `no_such_suite::a_name_that_leads_nowhere_is_found` `no_such_suite::…` \
        `docs::a_name_that_leads_nowhere_is_found` `docs::…` `Vec::new`\n```sh\n`docs::in_code`\n```\n";
    assert_eq!(
        unknown_tests(text),
        ["docs::no_such_test", "no_such_suite::a_name_that_leads_nowhere_is_found", "no_such_suite::…"]
    );
    let text = "`tests/suite/docs.rs` `docs.rs` `suite/` `target/lambda` `application/json` `GET /api/EndUsers` \
        [x](../README.md#run) [y](#here) [z](https://example.com/no.md) \
        `tests/suite/none.rs` `none.rs` `none/` `tests/none` [a](none.md) [b](README.md)";
    assert_eq!(
        broken_paths(Path::new("docs/any.md"), text),
        ["tests/suite/none.rs", "none.rs", "none/", "tests/none", "none.md", "README.md"]
    );
}
