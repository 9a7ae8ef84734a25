//! The files, links, headings, tests and commands that the documents name exist.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// Folders that a build or a run creates. They are not part of the repository.
const GENERATED: [&str; 6] = ["target", ".git", ".venv", ".aws-sam", ".local", "corpus"];
/// The source folders of the programs with flags that the documents name.
const PROGRAMS: [&str; 5] = ["local/src", "transfer/src", "bench/src", "tests/conformance", "tests/endurance"];
/// Flags of programs that are not part of the repository.
const FOREIGN_FLAGS: [&str; 1] = ["--parameter-overrides"];

/// The path of every file and folder, relative to the root of the repository.
static REPOSITORY: LazyLock<BTreeSet<PathBuf>> = LazyLock::new(list_repository);
/// Every test as libtest names it, and every module that contains tests.
static TESTS: LazyLock<(BTreeSet<String>, BTreeSet<String>)> = LazyLock::new(list_tests);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

fn list_repository() -> BTreeSet<PathBuf> {
    let (root, mut found) = (root(), BTreeSet::new());
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if GENERATED.iter().any(|generated| entry.file_name() == *generated) {
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

/// The documents with their paths relative to the root.
fn documents() -> Vec<(PathBuf, String)> {
    let at_root = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"];
    let is_document = |path: &&PathBuf| {
        let is_page = path.starts_with("docs") && has_extension(path, "md");
        is_page || at_root.iter().any(|name| path.as_path() == Path::new(name))
    };
    let documents: Vec<_> = REPOSITORY.iter().filter(is_document).map(|path| (path.clone(), read(path))).collect();
    assert!(documents.len() >= 20, "only {} documents", documents.len());
    documents
}

/// The lines of a document inside or outside its code blocks.
fn lines(text: &str, inside: bool) -> String {
    let mut within = false;
    let chosen = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        within ^= fence;
        within == inside && !fence
    });
    chosen.collect::<Vec<_>>().join("\n")
}

fn prose(text: &str) -> String {
    lines(text, false)
}

/// The texts in backticks.
fn quoted(prose: &str) -> impl Iterator<Item = &str> {
    prose.split('`').skip(1).step_by(2)
}

/// The targets of a document's links as written.
fn links(prose: &str) -> impl Iterator<Item = &str> {
    prose.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0))
}

/// The anchors that GitHub gives a document's headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let anchor = |heading: &str| {
        let kept = heading.trim().to_lowercase();
        kept.replace(|c: char| !c.is_alphanumeric() && !" -_".contains(c), "").replace(' ', "-")
    };
    let prose = prose(text);
    prose.lines().filter_map(|line| line.strip_prefix('#')).map(|line| anchor(line.trim_start_matches('#'))).collect()
}

/// The names of a source's tests, prefixed with `module`.
fn tests_in<'s>(module: &str, source: &'s str) -> impl Iterator<Item = String> + use<'s> {
    let (module, mut marked) = (module.to_owned(), None);
    source.lines().filter_map(move |line| {
        let code = line.trim_start();
        if code.starts_with("#[test]") || code.starts_with("#[tokio::test") {
            // An indented test belongs to the file's `mod tests`.
            marked = Some(line.len() > code.len());
            return None;
        }
        let name = code.trim_start_matches("async ").strip_prefix("fn ")?.split('(').next()?;
        let inner = if marked.take()? { "tests::" } else { "" };
        Some(format!("{module}{inner}{name}"))
    })
}

fn list_tests() -> (BTreeSet<String>, BTreeSet<String>) {
    let mut tests = BTreeSet::new();
    for path in REPOSITORY.iter().filter(|path| has_extension(path, "rs")) {
        let text = path.to_str().unwrap();
        let (folder, module) = ["tests/suite/", "shared/src/", "local/src/", "local/tests/"]
            .into_iter()
            .find_map(|folder| Some((folder, text.strip_prefix(folder)?.strip_suffix(".rs")?)))
            .unwrap_or_default();
        let parts = module.split('/').filter(|part| !["", "mod", "lib", "main"].contains(part));
        let module: String = parts.map(|part| format!("{part}::")).collect();
        if !folder.is_empty() {
            tests.extend(tests_in(&module, &read(path)));
        }
    }
    let parents = |test: &String| test.match_indices("::").map(|(end, _)| test[..end].to_owned()).collect::<Vec<_>>();
    let modules = tests.iter().flat_map(parents).collect();
    (tests, modules)
}

/// The names in backticks that look like tests but do not exist.
fn unknown_tests(text: &str) -> Vec<String> {
    let (tests, modules) = &*TESTS;
    let word =
        |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c.is_numeric() || c == '_');
    let prose = prose(text);
    let named = quoted(&prose).filter_map(|quote| {
        // `suite::…` and `suite::` name all tests of a suite.
        let (module, test) = quote.rsplit_once("::")?;
        let whole = ["", "…"].contains(&test);
        let looks = module.split("::").all(word) && (whole || word(test));
        (looks && !if whole { modules.contains(module) } else { tests.contains(quote) }).then(|| quote.to_owned())
    });
    named.collect()
}

/// The paths in backticks that do not exist in the repository.
fn unknown_paths(text: &str) -> Vec<String> {
    let exists = |path: &str| REPOSITORY.iter().any(|found| found.ends_with(path.trim_end_matches('/')));
    let is_path = |quote: &str| {
        let first = quote.split('/').next().unwrap_or_default();
        let name = quote.rsplit('/').next().unwrap_or_default();
        let plain = quote.chars().all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c));
        let extension = [".rs", ".md", ".toml", ".yaml", ".yml", ".json", ".lock", ".txt", ".csv", ".sh", ".svg"]
            .iter()
            .any(|extension| name.len() > extension.len() && name.ends_with(extension));
        let rooted = quote.contains('/') && REPOSITORY.contains(Path::new(first));
        plain && !first.is_empty() && !GENERATED.contains(&first) && (extension || rooted || quote.ends_with('/'))
    };
    quoted(&prose(text)).filter(|quote| is_path(quote) && !exists(quote)).map(str::to_owned).collect()
}

/// The relative links to a file or heading that does not exist.
fn broken_links(document: &Path, text: &str) -> Vec<String> {
    let is_broken = |link: &str| {
        let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
        if path.contains("://") || path.starts_with("mailto:") {
            return false;
        }
        let target = root().join(document).parent().unwrap().join(path);
        let linked = match path {
            "" => text.to_owned(),
            _ => std::fs::read_to_string(&target).unwrap_or_default(),
        };
        !target.exists() || !anchor.is_empty() && !anchors(&linked).contains(anchor)
    };
    links(&prose(text)).filter(|link| is_broken(link)).map(str::to_owned).collect()
}

/// The concatenated source of a program.
fn source(folder: &Path) -> String {
    let files = REPOSITORY.iter().filter(|path| path.starts_with(folder) && has_extension(path, "rs"));
    files.map(|path| read(path)).collect()
}

/// The flags that a source declares as clap arguments or as literals such as `"--write"`.
fn flags(source: &str) -> BTreeSet<String> {
    let mut flags = BTreeSet::new();
    let mut is_field = false;
    for line in source.lines().map(str::trim) {
        flags.extend(line.split('"').filter(|literal| literal.starts_with("--")).map(str::to_owned));
        if line.starts_with("#[arg(") {
            let name = line.split_once("long = \"").and_then(|(_, rest)| rest.split('"').next());
            flags.extend(name.map(|name| format!("--{name}")));
            is_field = line.contains("long") && name.is_none();
        } else if is_field && !line.starts_with(['#', '/']) {
            let field = line.split(':').next().and_then(|field| field.split_whitespace().next_back());
            flags.extend(field.map(|field| format!("--{}", field.replace('_', "-"))));
            is_field = false;
        }
    }
    flags
}

/// The subcommands that a source declares.
fn subcommands(source: &str) -> BTreeSet<String> {
    let enums = source.split("#[derive(Subcommand)]").skip(1).filter_map(|rest| rest.split("\n}").next());
    let variant = |line: &str| {
        let name = line.trim().split(|c: char| !c.is_ascii_alphabetic()).next()?;
        name.starts_with(|c: char| c.is_ascii_uppercase()).then(|| name.to_ascii_lowercase())
    };
    enums.flat_map(|body| body.lines().filter_map(variant)).collect()
}

/// Reports whether the program in `folder` has the subcommands and flags of a call.
fn is_known_call(folder: &Path, words: &[&str]) -> bool {
    let source = source(folder);
    let (flags, subcommands) = (flags(&source), subcommands(&source));
    let depth = if words.first() == Some(&"index") { 2 } else { 1 };
    let mut names = words.iter().take(depth).take_while(|word| !word.starts_with('-'));
    let mut given = words.iter().filter(|word| word.starts_with("--"));
    !source.is_empty() && names.all(|name| subcommands.contains(*name)) && given.all(|flag| flags.contains(*flag))
}

/// The word after `flag`.
fn value<'w>(words: &[&'w str], flag: &str) -> Option<&'w str> {
    words.iter().skip_while(|word| **word != flag).nth(1).copied()
}

/// Reports whether the package, the program or the suites of a cargo command exist.
fn is_known_cargo(words: &[&str]) -> bool {
    let package = value(words, "-p");
    let exists = |path: &str| REPOSITORY.contains(Path::new(path));
    match words.first() {
        Some(&"run") => {
            let end = words.iter().position(|word| *word == "--").unwrap_or(words.len());
            let folder = Path::new(package.unwrap_or("local")).join(value(&words[..end], "--bin").unwrap_or("src"));
            is_known_call(&folder, words.get(end + 1..).unwrap_or_default())
        }
        Some(&"test") => {
            let mut modules = words.iter().filter_map(|word| word.strip_suffix("::"));
            package.is_none_or(exists)
                && value(words, "--test").is_none_or(|suite| exists(&format!("tests/{suite}")))
                && modules.all(|module| TESTS.1.contains(module))
        }
        _ => true,
    }
}

/// The commands of a shell line, each as a list of words.
fn commands(line: &str) -> impl Iterator<Item = Vec<&str>> {
    let code = line.split(" #").next().unwrap_or_default();
    code.split(['|', ';', '&', '(', ')', '<', '>', '"', '\'']).map(|command| command.split_whitespace().collect())
}

/// Reports whether the scripts and cargo targets of a command exist.
fn is_known_command(words: &[&str]) -> bool {
    let is_script = |word: &str| ["tests/", ".ci/", "fuzz/"].iter().any(|folder| word.starts_with(folder));
    let mut scripts = words.iter().filter(|word| is_script(word));
    let cargo = words.iter().position(|word| *word == "cargo");
    scripts.all(|script| root().join(script).exists()) && cargo.is_none_or(|at| is_known_cargo(&words[at + 1..]))
}

/// Reports whether a text in backticks is no command or flag, or an existing one.
fn is_known_quote(quote: &str) -> bool {
    let words: Vec<&str> = quote.split_whitespace().collect();
    match words.as_slice() {
        [flag, ..] if flag.starts_with("--") => {
            let has = |program: &&str| flags(&source(Path::new(program))).contains(*flag);
            FOREIGN_FLAGS.contains(flag) || PROGRAMS.iter().any(has)
        }
        ["serve" | "token" | "index", ..] => is_known_call(Path::new("local/src"), &words),
        ["import" | "export", ..] => is_known_call(Path::new("transfer/src"), &words),
        ["transfer", call @ ..] => is_known_call(Path::new("transfer/src"), call),
        _ => commands(quote).all(|command| is_known_command(&command)),
    }
}

/// The commands in code blocks and backticks with a package, script, suite, subcommand or flag that does not exist.
fn unknown_commands(text: &str) -> Vec<String> {
    let (prose, code) = (prose(text), lines(text, true).replace("\\\n", " "));
    let in_code = code.lines().flat_map(commands).filter(|words| !is_known_command(words)).map(|words| words.join(" "));
    let in_prose = quoted(&prose).filter(|quote| !is_known_quote(quote)).map(str::to_owned);
    in_code.chain(in_prose).collect()
}

#[test]
fn documents_name_existing_tests() {
    for (document, text) in documents() {
        assert_eq!(unknown_tests(&text), [""; 0], "{}", document.display());
    }
}

#[test]
fn documents_name_existing_files_and_headings() {
    for (document, text) in documents() {
        assert_eq!(unknown_paths(&text), [""; 0], "{}", document.display());
        assert_eq!(broken_links(&document, &text), [""; 0], "{}", document.display());
    }
}

#[test]
fn documents_name_existing_commands() {
    for (document, text) in documents() {
        assert_eq!(unknown_commands(&text), [""; 0], "{}", document.display());
    }
}

#[test]
fn documents_begin_with_their_readers() {
    for (document, text) in documents() {
        let first = text.lines().skip(1).find(|line| !line.is_empty()).unwrap_or_default();
        assert!(first.starts_with("For "), "{}: {first}", document.display());
    }
    assert!(read(Path::new("README.md")).lines().count() <= 170);
}

/// The versions of Rust that a text names.
fn rust_versions(text: &str) -> BTreeSet<&str> {
    let behind = ["Rust ", "rust-version = \""].into_iter().flat_map(|marker| text.split(marker).skip(1));
    let versions = behind.filter_map(|rest| rest.split(|c: char| c != '.' && !c.is_numeric()).next());
    versions.map(|version| version.trim_end_matches('.')).filter(|version| version.contains('.')).collect()
}

/// `.ci/run` compares the compiler with the version that Cargo.toml declares.
#[test]
fn rust_version_is_the_same_everywhere() {
    let manifest = read(Path::new("Cargo.toml"));
    let declared = rust_versions(&manifest);
    assert_eq!(declared.len(), 1, "{declared:?}");
    let others = [".ci/run", "fuzz/Cargo.toml", "bench/phone-libraries/Cargo.toml"].map(PathBuf::from);
    for (path, text) in others.map(|path| (path.clone(), read(&path))).into_iter().chain(documents()) {
        let named = rust_versions(&text);
        assert!(named.is_subset(&declared), "{}: {named:?}", path.display());
    }
}

#[test]
fn unknown_names_are_found() {
    let text = "`docs::no_such_test` `no_such_suite::unknown_names_are_found` `no_such_suite::…` \
        `docs::unknown_names_are_found` `docs::…` `Vec::new`\n```sh\n`docs::in_code`\n```\n";
    assert_eq!(
        unknown_tests(text),
        ["docs::no_such_test", "no_such_suite::unknown_names_are_found", "no_such_suite::…"]
    );
    let text = "`tests/suite/docs.rs` `docs.rs` `suite/` `target/lambda` `application/json` `GET /api/EndUsers` \
        `tests/suite/none.rs` `none.rs` `none/` `tests/none`";
    assert_eq!(unknown_paths(text), ["tests/suite/none.rs", "none.rs", "none/", "tests/none"]);
    let text = "# A `title`, with\n[x](../README.md#quickstart) [y](#a-title-with) [z](https://example.com/no.md) \
        [a](none.md) [b](README.md) [c](#none) [d](../README.md#none)";
    assert_eq!(broken_links(Path::new("docs/any.md"), text), ["none.md", "README.md", "#none", "../README.md#none"]);
}

#[test]
fn unknown_commands_are_found() {
    let text = "`serve --port 0` `index check --aws` `transfer import --map A=B` `--no-demo` `cargo run -- serve` \
        `.ci/run` `cargo test -p tests --test suite docs::` `serve --none` `index none` `export --none` `--none` \
        `cargo test -p none`\n```sh\nA=$(cargo run -q -- token --customer 7)   # none\n\
        cargo run -p tests --bin endurance -- --seconds 1\ncargo run -p bench -- scale \\\n  --none\n\
        tests/none/run cargo test\ncargo run -- none\ncargo run -p none\ncargo test none::\n```\n";
    assert_eq!(
        unknown_commands(text),
        [
            "cargo run -p bench -- scale --none",
            "tests/none/run cargo test",
            "cargo run -- none",
            "cargo run -p none",
            "cargo test none::",
            "serve --none",
            "index none",
            "export --none",
            "--none",
            "cargo test -p none"
        ]
    );
}
