//! Measures, on a folder of test scripts in mysqltest's language (`STARLING_SQL_CORPUS`), how many statements are accepted; and that none,
//! cut or changed at random, brings the parser down. Rejected ones go to the file `STARLING_SQL_REJECTED`.

use std::collections::BTreeMap;
use std::io::Write;

use super::*;

/// Commands of mysqltest that look like statements.
const COMMANDS: &[&str] = &[
    "let",
    "echo",
    "eval",
    "connect",
    "disconnect",
    "connection",
    "source",
    "if",
    "while",
    "inc",
    "dec",
    "sleep",
    "real_sleep",
    "exec",
    "die",
    "skip",
    "send",
    "send_eval",
    "reap",
    "query",
    "error",
    "delimiter",
    "perl",
    "write_file",
    "append_file",
    "cat_file",
    "remove_file",
    "remove_files_wildcard",
    "copy_file",
    "move_file",
    "mkdir",
    "rmdir",
    "list_files",
    "diff_files",
    "file_exists",
    "chmod",
    "change_user",
    "character_set",
    "disable_query_log",
    "enable_query_log",
    "disable_result_log",
    "enable_result_log",
    "disable_warnings",
    "enable_warnings",
    "disable_abort_on_error",
    "enable_abort_on_error",
    "disable_info",
    "enable_info",
    "disable_metadata",
    "enable_metadata",
    "disable_ps_protocol",
    "enable_ps_protocol",
    "disable_parsing",
    "enable_parsing",
    "disable_reconnect",
    "enable_reconnect",
    "disable_rpl_parse",
    "enable_rpl_parse",
    "dirty_close",
    "end",
    "exit",
    "horizontal_results",
    "vertical_results",
    "lowercase_result",
    "ping",
    "replace_column",
    "replace_regex",
    "replace_result",
    "require",
    "result",
    "save_master_pos",
    "send_quit",
    "send_shutdown",
    "shutdown_server",
    "sorted_result",
    "sync_slave_with_master",
    "sync_with_master",
    "query_vertical",
    "query_horizontal",
    "evalp",
    "assert",
    "wait_for_slave_to_stop",
    "start_timer",
    "end_timer",
    "output",
    "optimizer_trace",
    "disable_cursor_protocol",
    "enable_cursor_protocol",
    "disable_view_protocol",
    "enable_view_protocol",
    "disable_prepare_warnings",
    "enable_prepare_warnings",
    "disable_ps2_protocol",
    "enable_ps2_protocol",
    "disable_service_connection",
    "enable_service_connection",
    "disable_session_track_info",
    "enable_session_track_info",
    "disable_column_names",
    "enable_column_names",
    "disable_connect_log",
    "enable_connect_log",
    "enable_non_blocking_api",
    "disable_non_blocking_api",
    "single_query",
    "copy_files_wildcard",
    "change_dir",
    "reset_connection",
    "exec_in_background",
    "disable_testcase",
    "enable_testcase",
];

/// Statements that a script runs and expects to succeed.
fn statements(script: &[u8], out: &mut Vec<Vec<u8>>) {
    let mut delimiter = b";".to_vec();
    let mut at = 0;
    let mut fails = false;
    while at < script.len() {
        let line_end = script[at..].iter().position(|b| *b == b'\n').map_or(script.len(), |n| at + n);
        let line = script[at..line_end].trim_ascii();
        if line.is_empty() || line.starts_with(b"#") || line == b"{" || line == b"}" {
            at = line_end + 1;
            continue;
        }
        if let Some(command) = line.strip_prefix(b"--") {
            let words: Vec<&[u8]> = command.trim_ascii().splitn(2, |b| *b == b' ').collect();
            match words[0].to_ascii_lowercase().as_slice() {
                b"error" => fails = true,
                b"delimiter" if words.len() > 1 => delimiter = words[1].trim_ascii().to_vec(),
                b"perl" | b"write_file" | b"append_file" => at = skip_block(script, line_end, command),
                _ => {}
            }
            at = at.max(line_end + 1);
            continue;
        }
        let end = find_delimiter(script, at, &delimiter);
        let text = script[at..end].trim_ascii();
        at = end + delimiter.len();
        let first: Vec<u8> = text
            .iter()
            .copied()
            .take_while(|b| b.is_ascii_alphanumeric() || *b == b'_')
            .collect();
        let first = String::from_utf8_lossy(&first).to_ascii_lowercase();
        match first.as_str() {
            "delimiter" => delimiter = text[9..].trim_ascii().to_vec(),
            "error" => fails = true,
            "perl" | "write_file" | "append_file" => at = skip_block(script, end, text),
            "if" | "while" => {
                // the body's statements come one by one; only the head is dropped
                at = script[..end].len().min(line_end) + 1;
            }
            word if COMMANDS.contains(&word) && word != "end" => {}
            _ => {
                if !fails && !text.contains(&b'$') && !text.is_empty() {
                    out.push(text.to_vec());
                }
                fails = false;
            }
        }
    }
}

fn skip_block(script: &[u8], from: usize, command: &[u8]) -> usize {
    let words: Vec<&[u8]> = command.split(|b| *b == b' ').filter(|w| !w.is_empty()).collect();
    let marker = match words.first() {
        Some(&b"perl") => words.get(1),
        _ => words.get(2),
    };
    let marker = marker.map_or(&b"EOF"[..], |m| m.trim_ascii().strip_suffix(b";").unwrap_or(m.trim_ascii()));
    let needle = [b"\n", marker].concat();
    script[from..]
        .windows(needle.len())
        .position(|w| w == needle)
        .map_or(script.len(), |n| from + n + needle.len())
}

/// The next delimiter outside of quotes and comments.
fn find_delimiter(script: &[u8], from: usize, delimiter: &[u8]) -> usize {
    let mut at = from;
    let mut quote = 0u8;
    while at < script.len() {
        let b = script[at];
        if quote != 0 {
            if b == b'\\' && quote != b'`' {
                at += 1;
            } else if b == quote {
                quote = 0;
            }
        } else if script[at..].starts_with(delimiter) {
            return at;
        } else if matches!(b, b'\'' | b'"' | b'`') {
            quote = b;
        } else if b == b'#' || script[at..].starts_with(b"-- ") {
            while at < script.len() && script[at] != b'\n' {
                at += 1;
            }
        } else if script[at..].starts_with(b"/*") {
            at += script[at..].windows(2).position(|w| w == b"*/").unwrap_or(0);
        }
        at += 1;
    }
    script.len()
}

fn corpus() -> Vec<Vec<u8>> {
    let folder = std::env::var("STARLING_SQL_CORPUS").expect("STARLING_SQL_CORPUS: a folder with .test files");
    let mut out = Vec::new();
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    for path in files
        .iter()
        .filter(|p| p.extension().is_some_and(|e| e == "test" || e == "inc" || e == "sql"))
    {
        statements(&std::fs::read(path).unwrap(), &mut out);
    }
    out
}

fn is_stored_program(text: &[u8]) -> bool {
    let head = String::from_utf8_lossy(&text[..text.len().min(200)]).to_ascii_lowercase();
    head.starts_with("create ")
        && ["procedure", "function", "trigger", "event", "package"]
            .iter()
            .any(|w| head.contains(w))
}

#[test]
#[ignore = "needs STARLING_SQL_CORPUS"]
fn accept_rate() {
    let mut by_word: BTreeMap<String, (u32, u32)> = BTreeMap::new();
    let mut rejected = std::env::var("STARLING_SQL_REJECTED")
        .ok()
        .map(|p| std::fs::File::create(p).unwrap());
    let (mut all, mut good, mut refused) = (0u32, 0u32, 0u32);
    for text in corpus() {
        if is_stored_program(&text) {
            continue;
        }
        let first =
            String::from_utf8_lossy(text.split(|b| !b.is_ascii_alphanumeric() && *b != b'_').next().unwrap_or(b"")).to_ascii_uppercase();
        let entry = by_word.entry(first).or_default();
        entry.0 += 1;
        all += 1;
        match parse_one(&text, LexMode::default()) {
            Ok(parsed) => {
                entry.1 += 1;
                good += 1;
                refused += u32::from(matches!(parsed.statement, Statement::Refused(_)));
            }
            Err(e) => {
                if let Some(file) = &mut rejected {
                    writeln!(
                        file,
                        "{}\n    -> {}\n",
                        String::from_utf8_lossy(&text),
                        e.message.replace('\n', " ")
                    )
                    .unwrap();
                }
            }
        }
    }
    println!(
        "accepted {good} of {all} ({:.2} %), {refused} of them refused by name",
        100.0 * f64::from(good) / f64::from(all)
    );
    let mut words: Vec<_> = by_word.into_iter().filter(|w| w.1.0 >= 20).collect();
    words.sort_by_key(|w| std::cmp::Reverse(w.1.0));
    for (word, (all, good)) in words {
        println!(
            "{word:>12} {good:>6} of {all:>6}  {:.1} %",
            100.0 * f64::from(good) / f64::from(all)
        );
    }
}

#[test]
#[ignore = "needs STARLING_SQL_CORPUS"]
fn nothing_brings_the_parser_down() {
    let mut random = Random(7);
    let all = LexMode {
        ansi_quotes: true,
        pipes_as_concat: true,
        no_backslash_escapes: true,
        ignore_space: true,
        high_not_precedence: true,
        real_as_float: true,
    };
    for (n, text) in corpus().into_iter().enumerate() {
        let mode = if n % 4 == 0 { all } else { LexMode::default() };
        check_numbering(&text, mode);
        for _ in 0..4 {
            let mut changed = text.clone();
            changed.truncate(random.below(text.len() + 1));
            check_numbering(&changed, mode);
            let mut changed = text.clone();
            for _ in 0..=random.below(4) {
                let at = random.below(changed.len().max(1));
                const BYTES: &[u8] = b"()'\"`,;.@*/-+#!{}?:=<>|&0aA \n\\\xff\0";
                if let Some(byte) = changed.get_mut(at) {
                    *byte = BYTES[random.below(BYTES.len())];
                }
            }
            check_numbering(&changed, mode);
        }
    }
}
