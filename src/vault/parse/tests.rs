use proptest::prelude::*;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::*;
use crate::block::ID_BYTES_MAX;
use crate::vault::near_miss::NearMiss;
use crate::vault::pass::BODY_BYTES_STORED;
use crate::vault::white::{digit, number_at, trim};

mod reference;

fn parsed(markdown: &str) -> ParsedFile {
    parse(markdown.to_owned(), ParseOptions::default())
}

fn hex(text: &str) -> String {
    ContentHash(Sha256::digest(text).into()).to_string()
}

#[test]
fn every_case_of_the_original_holds() {
    let vectors: Vec<Value> =
        serde_json::from_str(include_str!("../../../tests/fixtures/block-vectors.json")).unwrap();
    assert_eq!(vectors.len(), 121);
    for vector in vectors {
        let (name, markdown) = (&vector["name"], vector["markdown"].as_str().unwrap());
        let file = parsed(markdown);
        let blocks: Vec<Value> = file
            .blocks()
            .map(|block| {
                serde_json::json!({
                    "id": block.id(),
                    "version": block.version(),
                    "text": block.text(),
                    "hash": block.hash().to_string(),
                })
            })
            .collect();
        assert_eq!(Value::from(blocks), vector["blocks"], "{name}: {markdown:?}");
    }
}

/// Markdown in which everything that matters to the parser is frequent.
fn markdown() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "word",
        "Two words",
        "é\u{3000}ü",
        "^blk_x",
        "- item",
        "1. one",
        "# Head",
        "---",
        "===",
        "> quote",
        "```",
        "\u{FEFF}",
        "\u{1F600}",
        "a-b",
        "\0",
        "^",
        "#tag",
    ])
    .prop_map(str::to_owned);
    let white = prop::sample::select(vec![
        " ", "  ", "\t", "\n", "\n\n", "\r\n", "\r", "\n\r\n", "\u{1F}", "\u{2028}", "\u{85}",
        "\u{A0}", "\u{3000}", "",
    ])
    .prop_map(str::to_owned);
    let gap = || prop::sample::select(vec!["", " ", "\n", "  ", "\r\n", "\u{2009}"]);
    let id =
        prop::sample::select(vec!["b1", "x>y", "concept_a", "é", "a-b", "", "<!--", "clm_x;ver=2"]);
    let version = prop::sample::select(vec![
        "",
        " ver=2",
        "\nver=03",
        " ver=x",
        " ver=-1",
        " ver=",
        " VER=2",
        "ver=4",
        " ver=٣٤",
        " ver=99999999999999999999",
        " ver=2 ver=3",
        " foo=1",
    ]);
    let key =
        prop::sample::select(vec!["aclarai:id=", "aclarai:id =", "aclarai:", "Aclarai:id=", ""]);
    let close = prop::sample::select(vec!["-->", "-->", "-->", "--!>", "--->", ""]);
    let marker = (gap(), key, id, version, gap(), close)
        .prop_map(|(a, key, id, version, b, close)| format!("<!--{a}{key}{id}{version}{b}{close}"));
    let good = (gap(), "[a-z]{1,3}", gap())
        .prop_map(|(a, id, b)| format!("<!--{a}aclarai:id=blk_{id} ver=7{b}-->"));
    let other = prop::sample::select(vec![
        "<!-- aclarai:entailed_score=0.5 -->",
        "<!-- c -->",
        "<!-- aclarai:x\ny -->",
        "<!-- aclarai:open",
        "-->",
    ])
    .prop_map(str::to_owned);
    let piece = prop_oneof![4 => words, 4 => white, 2 => marker, 2 => good, 1 => other];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn v1_is_what_a_literal_reading_of_the_rules_gives(text in markdown()) {
        let file = parsed(&text);
        let (expected, empty) = reference::blocks(&text, digit);
        let found: Vec<reference::Block> = file
            .blocks()
            .map(|block| reference::Block {
                id: block.id().to_owned(),
                version: block.version(),
                line: block.line(),
                is_file_level: block.level() == Level::File,
                text: block.text().into_owned(),
                joined: trim(&block.text()).to_owned(),
            })
            .collect();
        for (block, expected) in file.blocks().zip(&expected) {
            prop_assert_eq!(block.hash().to_string(), hex(&expected.joined));
        }
        let without_joined = |blocks: Vec<reference::Block>| -> Vec<_> {
            blocks.into_iter().map(|b| (b.id, b.version, b.line, b.is_file_level, b.text)).collect()
        };
        prop_assert_eq!(without_joined(found), without_joined(expected));
        prop_assert_eq!(file.empty_blocks, empty);
    }

    #[test]
    fn any_bytes_are_parsed_or_refused_with_an_offset(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        match parse_bytes(bytes.clone(), ParseOptions { accept_hyphen_ids: true }) {
            Ok(file) => prop_assert_eq!(file.source().as_bytes(), &bytes),
            Err(NotUtf8 { offset }) => {
                prop_assert!(std::str::from_utf8(&bytes[..offset as usize]).is_ok());
            }
        }
    }

    #[test]
    fn offsets_point_at_the_markers(text in markdown(), accept_hyphen_ids: bool) {
        let file = parse(text.clone(), ParseOptions { accept_hyphen_ids });
        let mut last = 0;
        for block in file.blocks() {
            let marker = &text[block.marker()];
            prop_assert!(marker.starts_with("<!--") && marker.ends_with("-->"), "{}", marker);
            prop_assert!(marker.contains(block.id()));
            prop_assert!(last <= block.marker().start);
            last = block.marker().end;
            if let Some(digits) = block.version_digits() {
                let digits = &text[digits];
                let attribute = format!("ver={digits}");
                prop_assert!(marker.contains(&attribute));
                prop_assert_eq!(number_at(digits, 0), Some((block.version(), digits.len())));
            }
            prop_assert_eq!(block.body_hash().to_string(), hex(&block.body()));
            prop_assert_eq!(block.to_block().offset, block.marker().start as u64);
        }
        for warning in &file.warnings {
            let at = warning.offset as usize;
            prop_assert!(text[at..].starts_with(['<', '&', '\0']), "{}", warning);
        }
    }

    #[test]
    fn line_breaks_and_a_byte_order_mark_change_no_body(text in markdown()) {
        let text = text.replace(['\r', '\u{FEFF}'], "");
        let facts = |text: &str| -> Vec<_> {
            let file = parsed(text);
            let facts = |block: BlockRef<'_>| (block.id().to_owned(), block.line(), block.body_hash());
            file.blocks().map(facts).collect()
        };
        let expected = facts(&text);
        prop_assert_eq!(&facts(&text.replace('\n', "\r\n")), &expected);
        prop_assert_eq!(&facts(&text.replace('\n', "\r")), &expected);
        // A byte order mark is text to v1, so it may turn an empty block into a block.
        let with_mark = facts(&format!("\u{FEFF}{text}"));
        prop_assert!(expected.iter().all(|fact| with_mark.contains(fact)));
    }

    #[test]
    fn a_score_comment_above_a_marker_changes_no_body(
        text in markdown(),
        id in "(blk|concept)_[a-z]{3}",
        tail in markdown(),
    ) {
        let marker = format!("\n<!-- aclarai:id={id} ver=1 -->");
        let body = |text: String| {
            let file = parsed(&text);
            file.blocks().find(|block| block.id() == id).map(|block| block.body_hash())
        };
        let plain = body(format!("Some text.\n{text}{marker}\n{tail}"));
        let scored =
            body(format!("Some text.\n{text}\n<!-- aclarai:entailed_score=0.9 -->{marker}\n{tail}"));
        prop_assert_eq!(plain, scored);
    }
}

#[test]
fn bodies_cover_what_their_marker_stands_for() {
    // Each line: what it shows, the file, the body of each block.
    #[track_caller]
    fn case(what: &str, markdown: &str, bodies: &[(&str, &str)]) {
        let file = parsed(markdown);
        let found: Vec<_> =
            file.blocks().map(|block| (block.id().to_owned(), block.body())).collect();
        let found: Vec<_> = found.iter().map(|(id, body)| (id.as_str(), body.as_str())).collect();
        assert_eq!(found, bodies, "{what}: {markdown:?}");
    }
    const END: &str = "\n\nA closing paragraph that keeps the markers inline.\n";
    let inline = |what: &str, markdown: &str, bodies: &[(&str, &str)]| {
        case(what, &format!("{markdown}{END}"), bodies);
    };

    // Behind text on its line: the paragraph, back to what begins it.
    inline("one line", "One. <!-- aclarai:id=a -->", &[("a", "One.")]);
    inline("all lines", "One\ntwo\nthree. <!-- aclarai:id=a -->", &[("a", "One two three.")]);
    inline("a blank line", "No.\n \t\nOne\ntwo. <!-- aclarai:id=a -->", &[("a", "One two.")]);
    inline("a heading", "# Head\nOne\ntwo. <!-- aclarai:id=a -->", &[("a", "One two.")]);
    inline("an underlined heading", "Head\n====\nOne. <!-- aclarai:id=a -->", &[("a", "One.")]);
    inline("a tag is no heading", "#tag\nOne. <!-- aclarai:id=a -->", &[("a", "#tag One.")]);
    inline("on a heading", "Text\n## Head <!-- aclarai:id=a -->", &[("a", "## Head")]);
    inline("a list item", "- no\n- one\n  more <!-- aclarai:id=a -->", &[("a", "- one more")]);
    inline("a nested item", "- no\n    - one <!-- aclarai:id=a -->", &[("a", "- one")]);
    inline("a numbered item", "1. no\n2) one <!-- aclarai:id=a -->\n3. no", &[("a", "2) one")]);
    inline("an item below text", "Text:\n* one <!-- aclarai:id=a -->", &[("a", "* one")]);
    inline("emphasis is no item", "Text\n*one* <!-- aclarai:id=a -->", &[("a", "Text *one*")]);
    inline(
        "a marker line",
        "No <!-- aclarai:id=a -->\none <!-- aclarai:id=b -->",
        &[("a", "No"), ("b", "one")],
    );
    inline("an anchor line", "No\n^x\none <!-- aclarai:id=a -->", &[("a", "one")]);
    inline(
        "a score is no boundary",
        "One\n<!-- aclarai:s=1 -->\ntwo <!-- aclarai:id=a -->",
        &[("a", "One two")],
    );
    inline("front matter", "---\nt: 1\n---\nOne <!-- aclarai:id=a -->", &[("a", "One")]);
    inline(
        "a table",
        "| a |\n|---|\n| 1 | <!-- aclarai:id=a -->\n| 2 |",
        &[("a", "| a | |---| | 1 |")],
    );
    inline(
        "a callout",
        "> [!note] T\n> body <!-- aclarai:id=a -->",
        &[("a", "> [!note] T > body")],
    );
    inline("code", "```sh\nx = 1\n``` <!-- aclarai:id=a -->", &[("a", "```sh x = 1 ```")]);
    inline("text behind", "one <!-- aclarai:id=a --> more\nand more", &[("a", "one")]);
    inline("CRLF", "No\r\n\r\nOne\r\ntwo <!-- aclarai:id=a -->\r\n", &[("a", "One two")]);

    // Several on one line.
    inline(
        "two",
        "One <!-- aclarai:id=a --> two <!-- aclarai:id=b -->",
        &[("a", "One"), ("b", "two")],
    );
    inline(
        "side by side",
        "One <!-- aclarai:id=a --><!-- aclarai:id=b -->",
        &[("a", "One"), ("b", "One")],
    );
    inline(
        "over lines",
        "One <!--\naclarai:id=a\n--> two <!-- aclarai:id=b -->",
        &[("a", "One"), ("b", "two")],
    );

    // Alone on its line: everything since the last marker.
    inline(
        "all paragraphs",
        "# Head\n\nOne.\n\n- two\n<!-- aclarai:id=a -->",
        &[("a", "# Head One. - two")],
    );
    inline(
        "since the last",
        "One\n<!-- aclarai:id=a -->\n^a\n\n## H\n\nTwo\n<!-- aclarai:id=b -->\n^b",
        &[("a", "One"), ("b", "## H Two")],
    );
    inline(
        "since an inline one",
        "One <!-- aclarai:id=a -->\n\nTwo\n\nThree\n<!-- aclarai:id=b -->",
        &[("a", "One"), ("b", "Two Three")],
    );
    inline(
        "text behind the last",
        "One <!-- aclarai:id=a --> two\n\nThree\n<!-- aclarai:id=b -->",
        &[("a", "One"), ("b", "two Three")],
    );
    inline(
        "the header",
        "<!-- aclarai:title=T -->\n<!-- aclarai:n=2 -->\n\nOne\n<!-- aclarai:id=a -->",
        &[("a", "One")],
    );
    inline(
        "front matter",
        "---\ndate: x\n---\n# H\nOne\n\n<!-- aclarai:id=a -->",
        &[("a", "# H One")],
    );
    inline(
        "front matter and header",
        "---\nd: x\n...\n<!-- aclarai:t=T -->\nOne\n<!-- aclarai:id=a -->",
        &[("a", "One")],
    );
    inline(
        "a rule is no front matter",
        "Text\n---\nOne\n\n<!-- aclarai:id=a -->",
        &[("a", "Text --- One")],
    );
    inline(
        "a rule with a marker below is no front matter",
        "---\n\nOne\n<!-- aclarai:id=a -->\n\nTwo\n\n---\n\nThree\n<!-- aclarai:id=b -->",
        &[("a", "--- One"), ("b", "Two --- Three")],
    );
    inline(
        "front matter of Hugo",
        "+++\ntitle = 1\n+++\n# H\nOne\n\n<!-- aclarai:id=a -->",
        &[("a", "# H One")],
    );
    inline(
        "a marker in front matter of Hugo",
        "+++\nt = 1 <!-- aclarai:id=a -->\n+++\nOne\n\n<!-- aclarai:id=b -->",
        &[("a", "+++ t = 1"), ("b", "+++ One")],
    );
    inline("front matter without end", "---\nOne\n\n<!-- aclarai:id=a -->", &[("a", "--- One")]);
    inline("scores above", "One\n<!-- aclarai:s=1 -->\n<!-- aclarai:id=a -->", &[("a", "One")]);
    inline(
        "nothing since the last",
        "One <!-- aclarai:id=a -->\n^a\n<!-- aclarai:id=b -->",
        &[("a", "One"), ("b", "")],
    );
    inline(
        "an anchor on the line",
        "One\n<!-- aclarai:id=a --> ^a\n\nTwo\n\n<!-- aclarai:id=b -->",
        &[("a", "One"), ("b", "Two")],
    );
    inline(
        "text behind a page's marker",
        "One\n\nconcept <!-- aclarai:id=concept_a -->",
        &[("concept_a", "concept")],
    );

    // Pages.
    case(
        "a page",
        "# C\n\nOne ^concept_a\n\n- two\n\n<!-- aclarai:id=concept_a -->\n",
        &[("concept_a", "# C One - two")],
    );
    case(
        "with a long anchor",
        "# C\n\nOne\n<!-- aclarai:id=concept_a -->\n^concept_a_b_c_d\n",
        &[("concept_a", "# C One")],
    );
    case(
        "front matter is of the page",
        "---\nt: 1\n---\nOne\n<!-- aclarai:id=file_a -->\n",
        &[("file_a", "--- t: 1 --- One")],
    );
    case(
        "blocks inside a page",
        "One <!-- aclarai:id=blk_a -->\n\nTwo\n<!-- aclarai:id=doc_b -->\n",
        &[("blk_a", "One"), ("doc_b", "One Two")],
    );
    case(
        "two pages",
        "One\n<!-- aclarai:id=doc_a -->\n<!-- aclarai:id=subject_b -->\n",
        &[("doc_a", "One"), ("subject_b", "One")],
    );
    case("another prefix", "One\n\nTwo\n<!-- aclarai:id=blk_a -->\n", &[("blk_a", "One Two")]);
    case(
        "another prefix behind text",
        "One\n\nTwo <!-- aclarai:id=blk_a -->\n",
        &[("blk_a", "Two")],
    );

    // Parts left out.
    inline("an anchor at the end", "- one ^a\n\n<!-- aclarai:id=a -->", &[("a", "- one")]);
    inline("an anchor before the marker", "- one ^a <!-- aclarai:id=a -->", &[("a", "- one")]);
    inline(
        "at the end of any line",
        "- one ^a\n- two ^b\n- 3^2\n- four ^a more\n<!-- aclarai:id=a -->\n\n<!-- aclarai:id=b -->",
        &[("a", "- one - two - 3^2 - four ^a more"), ("b", "")],
    );
    inline(
        "an anchor that is no id of this note is text",
        "r ^2\n- two ^x\n<!-- aclarai:id=a -->\n^x\n\nB ^a ^x\n<!-- aclarai:id=b -->",
        &[("a", "r ^2 - two ^x"), ("b", "B ^a ^x")],
    );
    inline(
        "behind text and its marker too",
        "One <!-- aclarai:id=a --> ^2\nTwo\n\nThree\n<!-- aclarai:id=b -->",
        &[("a", "One"), ("b", "^2 Two Three")],
    );
    inline(
        "behind a marker alone any anchor is one",
        "One\n<!-- aclarai:id=a --> ^2\nTwo\n\n<!-- aclarai:id=b -->",
        &[("a", "One"), ("b", "Two")],
    );
    inline(
        "in a line of comments",
        "One\n<!-- aclarai:s=1 --> ^x <!-- aclarai:t=1 -->\n<!-- aclarai:id=a -->",
        &[("a", "One")],
    );
    inline("no anchor", "one ^(x)\ntwo ^\n<!-- aclarai:id=a -->", &[("a", "one ^(x) two ^")]);
    inline(
        "comments of ours inside",
        "o<!-- aclarai:a=1 -->ne<!-- c --> <!-- aclarai:id=a-b --> <!-- aclarai:id=a -->",
        &[("a", "one<!-- c -->")],
    );
    inline("over lines", "One\n<!-- aclarai:x\ny -->\n<!-- aclarai:id=a -->", &[("a", "One")]);
    inline(
        "one without end",
        "One <!-- aclarai:x <!-- aclarai:id=a -->",
        &[("a", "One <!-- aclarai:x")],
    );
    case("a byte order mark", "\u{FEFF}One\n<!-- aclarai:id=a -->\n", &[("a", "One")]);
    case("nothing but that", "\u{FEFF}<!-- aclarai:id=a -->\n", &[("a", "")]);
}

#[test]
fn near_misses_say_what_to_change() {
    use NearMiss::*;
    let unknown = |name: &str| Some(UnknownAttribute(name.to_owned()));
    for (comment, expected) in [
        ("<!-- aclarai:id=x ver=2", Some(Unclosed)),
        ("<!-- aclarai:id=x ver=2 --!>", Some(Unclosed)),
        ("<!--- aclarai:id=x -->", Some(Opening)),
        ("<!-- Aclarai:id=x -->", Some(WrongCase)),
        ("<!-- ACLARAI:ID=x -->", Some(WrongCase)),
        ("<!-- aclarai:Id=x -->", Some(WrongCase)),
        ("<!-- aclarai:id=x VER=2 -->", Some(WrongCase)),
        ("<!-- aclarai:id =x -->", Some(Separator)),
        ("<!-- aclarai:id= x -->", Some(Separator)),
        ("<!-- aclarai: id=x -->", Some(Separator)),
        ("<!-- aclarai id=x -->", Some(Separator)),
        ("<!-- aclarai.id=x -->", Some(Separator)),
        ("<!-- aclarai;id=x -->", Some(Separator)),
        ("<!-- aclarai-id=x -->", Some(Separator)),
        ("<!-- aclarai_id=x -->", Some(Separator)),
        ("<!-- aclarai:id:x -->", Some(Separator)),
        ("<!-- aclarai:id=x ver = 2 -->", Some(Separator)),
        ("<!-- aclarai:id=x ver -->", Some(Separator)),
        ("<!-- aclarai:ver=2 id=x -->", Some(AttributeOrder)),
        ("<!-- aclarai:id= -->", Some(NoId)),
        ("<!-- aclarai:id -->", Some(NoId)),
        ("<!-- aclarai:id= ver=3 -->", Some(NoId)),
        ("<!-- aclarai:id=clm-a-1 ver=2 -->", Some(HyphenInId)),
        ("<!-- aclarai:id=x ver=two -->", Some(NotANumber)),
        ("<!-- aclarai:id=x ver=-1 -->", Some(NotANumber)),
        ("<!-- aclarai:id=x ver=1_0 -->", Some(NotANumber)),
        ("<!-- aclarai:id=x foo=1 -->", unknown("foo")),
        ("<!-- aclarai:id=x ver=2 ver=3 -->", unknown("ver")),
        ("<!-- aclarai:id=x, ver=2 bar -->", unknown("bar")),
        ("<!-- aclarai:id=x ver=2 --->", Some(Closing)),
        ("<!\u{2014} aclarai:id=x -->", Some(SmartDash)),
        ("<!\u{2014} aclarai:id=x \u{2014}>", Some(SmartDash)),
        ("<!\u{2013}\u{2013} Aclarai:id=x ver=2 \u{2013}\u{2013}>", Some(SmartDash)),
        ("<!-- aclarai:id=x \u{2014}>", Some(SmartDash)),
        ("<!--\u{2014} aclarai:id=x -->", Some(SmartDash)),
        ("<!-- aclarai:id=x\u{2013}1 -->", Some(SmartDash)),
        ("&lt;!-- aclarai:id=x --&gt;", Some(Escaped)),
        ("&lt;!-- aclarai:id=x -->", Some(Escaped)),
        ("&#60;!-- aclarai:id=x --&#62;", Some(Escaped)),
        ("&#x3C;!-- aclarai:id=x -->", Some(Escaped)),
        ("<!-- aclarai:id=x --&gt;", Some(Escaped)),
        ("<!- aclarai:id=x -->", Some(Opening)),
        ("<-- aclarai:id=x -->", Some(Opening)),
        ("<! -- aclarai:id=x -->", Some(Opening)),
        ("<\\!-- aclarai:id=x -->", Some(Opening)),
        ("<!--\u{200B} aclarai:id=x -->", Some(Invisible('\u{200B}'))),
        ("<\u{200B}!-- aclarai:id=x -->", Some(Invisible('\u{200B}'))),
        ("<!-- acla\u{AD}rai:id=x -->", Some(Invisible('\u{AD}'))),
        ("<!-- aclarai:id=x ver=\u{200E}2 -->", Some(Invisible('\u{200E}'))),
        ("<!-- aclarai:id=x\u{200B}y -->", Some(Invisible('\u{200B}'))),
        ("<!-- aclarai:id=\u{FEFF}x -->", Some(Invisible('\u{FEFF}'))),
        ("<!-- aclarai:id=x\u{1} -->", Some(Invisible('\u{1}'))),
        ("<!-- aclarai:id=\"x\" ver=2 -->", Some(PunctuationInId('"'))),
        ("<!-- aclarai:id='x' -->", Some(PunctuationInId('\''))),
        ("<!-- aclarai:id=\u{201C}x\u{201D} -->", Some(PunctuationInId('\u{201C}'))),
        ("<!-- aclarai:id=x, ver=2 -->", Some(PunctuationInId(','))),
        ("<!-- aclarai:id=x;ver=2 -->", Some(PunctuationInId(';'))),
        ("<!-- aclarai:id=x_1ver=2 -->", Some(PunctuationInId('='))),
        ("<!-- aclarai:id=x\\_1 -->", Some(PunctuationInId('\\'))),
        // No near misses.
        ("<!-- aclarai:id=x ver=2 -->", None),
        ("<!-- aclarai:entailed_score=0.95 -->", None),
        ("<!-- aclarai:title=The id=x story -->", None),
        ("<!-- aclarai:identity=x -->", None),
        ("<!-- aclarai:participants=[\"A\"] -->", None),
        ("<!-- aclarai id of this -->", None),
        ("<!-- aclarai is a tool -->", None),
        ("<!-- éclarai:id=x -->", None),
        ("<!-- aclarai", None),
        ("<!-- note: aclarai:id=x -->", None),
        ("aclarai:id=x", None),
        ("a < b, aclarai:id=x", None),
        ("<aclarai:id=x>", None),
        ("an em dash \u{2014} aclarai:id=x", None),
        ("<!-- aclarai:id=\u{e9}\u{65e5} -->", None),
        ("<!-- aclarai:id=x:y/z.1 -->", None),
        ("<!-- \u{200B} a comment -->", None),
        ("\u{200B}<!-- aclarai:id=x -->", None),
    ] {
        let file =
            parsed(&format!("One\n\nTwo {comment}\n\n<!-- c --> and more text to the end\n"));
        let found: Vec<_> =
            file.warnings.iter().map(|w| (w.line, w.offset, w.kind.clone())).collect();
        let expected: Vec<_> =
            expected.map(|reason| (3, 9, WarningKind::NearMiss(reason))).into_iter().collect();
        assert_eq!(found, expected, "{comment}");
    }
    let warning = &parsed("a\r\nb <!-- aclarai:id=a-b -->").warnings[0];
    assert!(
        warning.to_string().starts_with("line 2: near_miss_marker: the id has a `-`"),
        "{warning}"
    );
}

#[test]
fn hyphens_are_taken_where_the_user_says_so() {
    let options = ParseOptions { accept_hyphen_ids: true };
    for (comment, id) in [
        ("<!-- aclarai:id=clm-abc-1 ver=2 -->", Some("clm-abc-1")),
        ("<!--aclarai:id=a-b-->", Some("a-b")),
        ("<!-- aclarai:id=a--b -->", Some("a--b")),
        ("<!-- aclarai:id=a--->", Some("a-")),
        ("<!-- aclarai:id=-- -->", Some("--")),
        ("<!-- aclarai:id=a<!--b -->", None),
        ("<!-- aclarai:id=--> -->", None),
    ] {
        let file = parse(format!("One {comment} and more text behind it"), options);
        let ids: Vec<&str> = file.blocks().map(|block| block.id()).collect();
        assert_eq!(ids, Vec::from_iter(id), "{comment}");
        assert_eq!(file.warnings.is_empty(), id.is_some(), "{comment}: {:?}", file.warnings);
    }
}

#[test]
fn an_id_that_no_store_takes_is_a_fault_of_its_block() {
    let (long, longest) = ("é".repeat(501), "x".repeat(ID_BYTES_MAX));
    let text = format!(
        "One <!-- aclarai:id={long} -->\nTwo <!-- aclarai:id={longest} -->\nand the end of the file"
    );
    let file = parsed(&text);
    assert_eq!(file.len(), 1);
    assert_eq!(file.block(0).body(), "Two");
    let fault = &file.faults[0];
    assert_eq!((fault.line, fault.offset, fault.id_bytes), (1, 4, 1002));
    assert!(fault.to_string().contains("has 1002 bytes"), "{fault}");
}

#[test]
fn nul_is_text_and_is_noted() {
    let file = parsed("One\n\0two <!-- aclarai:id=a -->\n\nand the end of the file\0");
    assert_eq!(file.block(0).text(), "\0two");
    assert_eq!(file.block(0).hash().to_string(), hex("\0two"));
    let noted: Vec<_> = file.warnings.iter().map(|w| (w.line, w.offset, w.kind.name())).collect();
    assert_eq!(noted, [(2, 4, "nul_character")]);
}

#[test]
fn a_file_of_near_misses_is_summed_up() {
    let file = parsed(&"<!-- aclarai:id=a-b -->\n".repeat(1_500));
    assert_eq!((file.warnings.len(), file.warnings_left_out), (1_000, 500));
}

#[test]
fn a_marker_in_code_is_a_block_and_says_so() {
    let file = parsed(
        "One <!-- aclarai:id=a -->\n\n```markdown\nTwo\n<!-- aclarai:id=b -->\n```\n\n\
         `Three <!-- aclarai:id=c -->` and four <!-- aclarai:id=d -->\n\nThe end of the file.\n",
    );
    let found: Vec<_> = file.blocks().map(|block| (block.id(), block.in_code())).collect();
    assert_eq!(found, [("a", false), ("b", true), ("c", true), ("d", false)]);
    let warned: Vec<_> = file.warnings.iter().map(|w| (w.line, w.kind.name())).collect();
    assert_eq!(warned, [(5, "marker_in_code"), (8, "marker_in_code")]);
}

#[test]
fn only_the_beginning_of_a_huge_text_is_stored() {
    let long = "a\u{e9}\r\n".repeat(1 << 20);
    let file = parsed(&format!("{long}<!-- aclarai:id=concept_a -->\n"));
    let block = file.block(0);
    assert_eq!(block.text().len(), 4 * (1 << 20) - 1);
    let stored = block.stored_text();
    assert!((TEXT_BYTES_STORED - 3..=TEXT_BYTES_STORED).contains(&stored.len()));
    assert!(block.text().starts_with(&*stored));
    let body = block.stored_body();
    assert!((BODY_BYTES_STORED - 3..=BODY_BYTES_STORED).contains(&body.len()), "{}", body.len());
    assert!(block.body().starts_with(&body));
    assert_eq!(block.body_hash().to_string(), hex(&block.body()));
    let short = parsed("One\r\ntwo <!-- aclarai:id=a -->");
    assert_eq!(short.block(0).stored_text(), short.block(0).text());
    assert_eq!(short.block(0).stored_body(), short.block(0).body());
}

#[test]
fn many_blocks_with_one_huge_body_do_not_each_store_it() {
    let long = "word ".repeat(200_000);
    let markers: String = (0..200).map(|n| format!("<!-- aclarai:id=doc_{n} -->\n")).collect();
    let file = parsed(&format!("{long}\n{markers}"));
    let stored: Vec<usize> = file.blocks().map(|block| block.stored_body().len()).collect();
    assert!(stored[..60].iter().all(|len| *len == long.len() - 1), "{stored:?}");
    assert!(stored[100..].iter().all(|len| *len <= TEXT_BYTES_STORED), "{stored:?}");
    assert!(stored.iter().sum::<usize>() < 70 << 20);
    let first = file.blocks().next().unwrap().body_hash();
    assert!(file.blocks().all(|block| block.body_hash() == first));
}

/// All that is known of a block.
fn facts(block: BlockRef<'_>) -> (Block, bool, Range<usize>) {
    (block.to_block(), block.in_code(), block.marker())
}

proptest! {
    #[test]
    fn slices_are_the_blocks_cut_into_pieces(text in markdown(), blocks in 1usize..5, bytes in 1usize..200) {
        let expected: Vec<_> = parsed(&text).blocks().map(facts).collect();
        let slices: Vec<FileSlice> = parsed(&text).into_slices(blocks, bytes).collect();
        let found: Vec<_> = slices.iter().flat_map(|slice| slice.blocks().map(facts)).collect();
        prop_assert_eq!(found, expected);
        for (at, slice) in slices.iter().enumerate() {
            prop_assert!(slice.len() <= blocks && (slice.bytes() <= bytes || slice.len() == 1));
            prop_assert_eq!(slice.is_last(), at + 1 == slices.len());
        }
        prop_assert_eq!(parsed(&text).into_slices(1_000, 1 << 20).count(), 1);
    }
}

#[test]
fn a_note_of_nothing_but_markers_is_gone_over_again() {
    // The places of so many blocks would take several times the room of the note.
    let mut text = String::from("A ^q7\n");
    (0..60_000).for_each(|n| text += &format!("<!--aclarai:id=q{n}-->"));
    text += "\nand the end of the file";
    let file = parsed(&text);
    assert!(file.places.is_empty());
    assert_eq!(file.len(), 60_000);
    assert_eq!(file.block(7).body(), "A");
    let last = file.blocks().last().unwrap();
    assert_eq!((last.id(), last.line(), last.version()), ("q59999", 2, 1));
    let whole: Vec<_> = file.blocks().map(|block| (block.marker(), block.hash())).collect();
    let slices: Vec<FileSlice> = file.into_slices(1_000, 1 << 20).collect();
    let cut = slices.iter().flat_map(FileSlice::blocks);
    assert!(cut.map(|block| (block.marker(), block.hash())).eq(whole));
    assert!(slices.len() >= 60 && slices.iter().all(|slice| slice.len() <= 1_000));
}

#[test]
fn hostile_files_take_no_more_than_linear_time() {
    // Each of these is half a megabyte of one thing. Were any look back or ahead repeated for each marker, the test
    // would run for a quarter of an hour.
    let marker = |n: usize| format!("<!--aclarai:id=concept_{n}-->");
    let all = |between: &str| -> String { (0..10_000).map(|n| marker(n) + between).collect() };
    let pad = |with: &str| with.repeat(300_000 / with.len());
    let end = "\nThe last line of the file is long enough.";
    for text in [
        format!("{}{}{end}", pad("x"), all("")),
        format!("{}x{}{end}", pad(" "), all(" y ")),
        format!("{}{}{end}", pad("\n"), all("\n")),
        format!("{}{}{end}", pad("word "), all("\n\n")),
        format!("{}{}", pad("word\n"), all("\n^a\n")),
        format!("One\n{}{}", all("\n^a\n<!-- aclarai:s=1 -->\n"), pad("<!-- aclarai:s=1 -->")),
        format!("One\n{}{}", all("\n"), pad("<!-- aclarai:")),
        format!("{}{end}", all(" ^a\nline\n- x\n<!-- aclarai:")),
        format!("{}{end}", pad("<!--aclarai:id=")),
        format!("{}-->", pad("<!-- aclarai:id= ")),
        format!("{}{}{end}", pad("^a"), all("^a")),
        format!("One {}{}", pad("<!-- aclarai:x"), all("")),
        format!("One {}{end}", all(" ^q")),
        format!("`{}{end}", all("` ``")),
        format!("{}{end}", all("\n```\n")),
        format!("{}{end}", pad("clarai aclarai:id=<")),
        format!("{}{}{end}", all("<!-- aclarai:s=1 -->^x "), pad("<!-- aclarai:s=1 --> ^x ")),
        format!("---\n{}\n---\n{end}", all("\n")),
    ] {
        for accept_hyphen_ids in [false, true] {
            let file = parse(text.clone(), ParseOptions { accept_hyphen_ids });
            assert!(file.len() <= 10_000);
        }
    }
}
