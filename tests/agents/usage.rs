//! What is read from each agent's stream. The samples follow the documented shapes.

use orch::agents::{UsageFormat, UsageMeter};
use orch::domain::run::{Provenance, Usage};
use orch::domain::usage::UsageReport;

fn usage(tokens: [i64; 3], cost: Option<i64>) -> Option<Usage> {
    Some(Usage {
        tokens_in: tokens[0],
        tokens_out: tokens[1],
        tokens_cached: tokens[2],
        cost_micro_usd: cost,
        provenance: cost.map_or(Provenance::Unpriced, |_| Provenance::Reported),
    })
}

fn read(format: UsageFormat, lines: &[&str]) -> UsageReport {
    let mut meter = UsageMeter::new(format);
    for line in lines {
        meter.line(line.as_bytes());
    }
    meter.finish()
}

const INIT: &str =
    r#"{"type":"system","subtype":"init","cwd":"/w","session_id":"s-1","model":"claude-x","tools":["Bash"]}"#;
const ASK: &str = r#"{"type":"assistant","message":{"id":"msg_1","type":"message","role":"assistant","content":[{"type":"text","text":"Hm"}],"usage":{"input_tokens":3,"cache_creation_input_tokens":100,"cache_read_input_tokens":1000,"output_tokens":1}},"session_id":"s-1"}"#;
const ASK_AGAIN: &str = r#"{"type":"assistant","message":{"id":"msg_1","type":"message","role":"assistant","content":[{"type":"tool_use","id":"t","name":"Bash","input":{}}],"usage":{"input_tokens":3,"cache_creation_input_tokens":100,"cache_read_input_tokens":1000,"output_tokens":20}},"session_id":"s-1"}"#;
const NEXT: &str = r#"{"type":"assistant","message":{"id":"msg_2","type":"message","role":"assistant","content":[],"usage":{"input_tokens":5,"cache_read_input_tokens":1100,"output_tokens":30}},"session_id":"s-1"}"#;
const RESULT: &str = r#"{"type":"result","subtype":"success","is_error":false,"duration_ms":2100,"num_turns":2,"result":"Done.","session_id":"s-1","total_cost_usd":0.0123456,"usage":{"input_tokens":8,"output_tokens":50},"modelUsage":{"claude-x":{"inputTokens":8,"outputTokens":50,"cacheReadInputTokens":2100,"cacheCreationInputTokens":100,"costUSD":0.0123},"claude-small":{"inputTokens":10,"outputTokens":2,"cacheReadInputTokens":0,"cacheCreationInputTokens":0,"costUSD":0.0000456}},"terminal_reason":"completed"}"#;

#[test]
fn claudes_result_is_the_total_of_all_its_models() {
    let report = read(UsageFormat::Claude, &[INIT, ASK, ASK_AGAIN, NEXT, RESULT]);
    assert_eq!(report.usage, usage([2218, 52, 2100], Some(12_346)));
    assert_eq!((report.failure, report.session.as_deref()), (None, Some("s-1")));
}

#[test]
fn claudes_second_result_replaces_the_first() {
    let later = RESULT
        .replace("0.0123456", "0.0200000")
        .replace("\"outputTokens\":50", "\"outputTokens\":90");
    let report = read(UsageFormat::Claude, &[INIT, ASK, RESULT, RESULT, NEXT, &later]);
    assert_eq!(report.usage, usage([2218, 92, 2100], Some(20_000)));
    let other = RESULT.replace("\"s-1\"", "\"s-2\"");
    let report = read(UsageFormat::Claude, &[RESULT, &other]);
    assert_eq!(
        report.usage,
        usage([4436, 104, 4200], Some(24_691)),
        "another session has totals of its own"
    );
}

#[test]
fn a_claude_that_was_killed_still_tells_what_it_used() {
    let mut meter = UsageMeter::new(UsageFormat::Claude);
    assert_eq!(meter.so_far(), None);
    meter.line(ASK.as_bytes());
    assert_eq!(meter.so_far(), usage([1103, 1, 1000], None));
    meter.line(ASK_AGAIN.as_bytes());
    assert_eq!(
        meter.so_far(),
        usage([1103, 20, 1000], None),
        "one message, printed twice"
    );
    meter.line(NEXT.as_bytes());
    assert_eq!(meter.finish().usage, usage([2208, 50, 2100], None));
    let report = read(UsageFormat::Claude, &[RESULT, NEXT]);
    assert_eq!(
        report.usage,
        usage([3323, 82, 3200], Some(12_346)),
        "the last known cost is a lower bound"
    );
}

#[test]
fn claude_says_that_it_failed_whatever_its_exit_code() {
    let table = [
        (
            r#"{"type":"result","subtype":"success","is_error":true,"result":"API Error: 500\nretry","session_id":"s"}"#,
            Some("claude: success: API Error: 500 retry"),
        ),
        (
            r#"{"type":"result","subtype":"success","is_error":false,"result":"Prompt is too long","terminal_reason":"prompt_too_long"}"#,
            Some("claude: prompt_too_long: Prompt is too long"),
        ),
        (
            r#"{"type":"result","subtype":"error_max_turns","is_error":false,"num_turns":9}"#,
            Some("claude: error_max_turns"),
        ),
        (
            r#"{"type":"result","subtype":"error_during_execution","is_error":true,"errors":["boom"]}"#,
            Some("claude: error_during_execution: boom"),
        ),
        (
            r#"{"type":"result","subtype":"success","is_error":false,"result":"error"}"#,
            None,
        ),
    ];
    for (line, failure) in table {
        let report = read(UsageFormat::Claude, &[line]);
        assert_eq!(report.failure.as_deref(), failure);
        assert_eq!(report.usage, None, "{line}");
    }
    assert_eq!(
        read(UsageFormat::Claude, &[table[0].0, RESULT]).failure,
        None,
        "the last result counts"
    );
}

#[test]
fn an_older_claude_without_model_usage_is_read_too() {
    let line = r#"{"type":"result","subtype":"success","is_error":false,"session_id":"s","total_cost_usd":0.1,"usage":{"input_tokens":10,"cache_creation_input_tokens":20,"cache_read_input_tokens":30,"output_tokens":40}}"#;
    assert_eq!(
        read(UsageFormat::Claude, &[line]).usage,
        usage([60, 40, 30], Some(100_000))
    );
}

#[test]
fn codexs_turns_carry_the_running_total_of_their_thread() {
    let lines = [
        r#"{"type":"thread.started","thread_id":"t-1"}"#,
        r#"{"type":"turn.started"}"#,
        r#"{"type":"item.completed","item":{"id":"item_0","type":"agent_message","text":"ok"}}"#,
        r#"{"type":"turn.completed","usage":{"input_tokens":1000,"cached_input_tokens":600,"output_tokens":50,"reasoning_output_tokens":20}}"#,
        r#"{"type":"turn.completed","usage":{"input_tokens":3000,"cached_input_tokens":2400,"output_tokens":80,"reasoning_output_tokens":30}}"#,
    ];
    let report = read(UsageFormat::Codex, &lines);
    assert_eq!(report.usage, usage([3000, 80, 2400], None));
    assert_eq!((report.failure, report.session.as_deref()), (None, Some("t-1")));
}

#[test]
fn codexs_failed_turn_is_a_failure_and_a_retry_that_succeeds_is_none() {
    let error = r#"{"type":"error","message":"stream disconnected; retrying 1/5"}"#;
    let failed = r#"{"type":"turn.failed","error":{"message":"You've hit your usage limit."}}"#;
    let done =
        r#"{"type":"turn.completed","usage":{"input_tokens":1,"cached_input_tokens":0,"output_tokens":1}}"#;
    let failure = |lines: &[&str]| read(UsageFormat::Codex, lines).failure;
    assert_eq!(failure(&[error, done]), None);
    assert_eq!(
        failure(&[error]).as_deref(),
        Some("codex: stream disconnected; retrying 1/5")
    );
    assert_eq!(
        failure(&[error, failed]).as_deref(),
        Some("codex: You've hit your usage limit.")
    );
}

#[test]
fn geminis_models_add_up_and_thoughts_count_as_output() {
    let init = r#"{"type":"init","timestamp":"2026-01-01T00:00:00Z","session_id":"g-1","model":"auto"}"#;
    let result = r#"{"type":"result","timestamp":"2026-01-01T00:00:09Z","status":"success","stats":{"total_tokens":1500,"input_tokens":1200,"output_tokens":200,"cached":700,"input":500,"duration_ms":900,"tool_calls":2,"models":{"pro":{"total_tokens":1300,"input_tokens":1050,"output_tokens":170,"cached":700,"input":350},"flash":{"total_tokens":200,"input_tokens":150,"output_tokens":50,"cached":0,"input":150}}}}"#;
    let report = read(UsageFormat::Gemini, &[init, result]);
    assert_eq!(report.usage, usage([1200, 300, 700], None));
    assert_eq!((report.failure, report.session.as_deref()), (None, Some("g-1")));
    let bare = r#"{"type":"result","status":"error","error":{"type":"FatalTurnLimitedError","message":"Reached max session turns"},"stats":{"total_tokens":30,"input_tokens":20,"output_tokens":10,"cached":0}}"#;
    let report = read(UsageFormat::Gemini, &[init, bare]);
    assert_eq!(report.usage, usage([20, 10, 0], None));
    assert_eq!(
        report.failure.as_deref(),
        Some("gemini: Reached max session turns")
    );
}

fn step(id: &str, cost: &str, tokens: [i64; 5]) -> String {
    let [input, output, reasoning, read, write] = tokens;
    format!(
        r#"{{"type":"step_finish","timestamp":1770850185921,"sessionID":"ses_1","part":{{"id":"{id}","sessionID":"ses_1","messageID":"m","type":"step-finish","reason":"tool-calls","cost":{cost},"tokens":{{"input":{input},"output":{output},"reasoning":{reasoning},"cache":{{"read":{read},"write":{write}}}}}}}}}"#
    )
}

#[test]
fn opencodes_steps_add_up_once_each() {
    let (a, b) = (
        step("p1", "0.0000004", [10, 5, 2, 100, 20]),
        step("p2", "0.0000004", [1, 1, 0, 130, 0]),
    );
    let report = read(UsageFormat::Opencode, &[&a, &a, &b]);
    assert_eq!(
        report.usage,
        usage([261, 8, 230], Some(1)),
        "rounded once, at the end"
    );
    assert_eq!((report.failure, report.session.as_deref()), (None, Some("ses_1")));
}

#[test]
fn an_opencode_that_called_no_model_failed_and_one_without_a_price_is_unpriced() {
    let idle = step("p1", "0", [0; 5]);
    let report = read(UsageFormat::Opencode, &[&idle]);
    assert_eq!(report.usage, None);
    assert_eq!(
        report.failure.as_deref(),
        Some("opencode: no model call happened: every step reports zero tokens")
    );
    let free = step("p2", "0", [10, 1, 0, 0, 0]);
    let report = read(UsageFormat::Opencode, &[&idle, &free]);
    assert_eq!((report.usage, report.failure), (usage([10, 1, 0], None), None));
    let error = r#"{"type":"error","timestamp":1,"sessionID":"ses_1","error":{"name":"APIError","data":{"message":"Rate limit","statusCode":429}}}"#;
    assert_eq!(
        read(UsageFormat::Opencode, &[error]).failure.as_deref(),
        Some("opencode: Rate limit")
    );
}

#[test]
fn noise_in_a_stream_is_passed_over() {
    let noise: &[&[u8]] = &[
        b"",
        b"   ",
        b"npm warn deprecated",
        b"[orch] 12345 bytes not kept",
        b"{\"type\":\"result\",\"total_cost_usd\":9",
        b"{\"type\":\"result\"}",
        b"{\"type\":7}",
        b"{\"type\":\"result\",\"total_cost_usd\":-5,\"usage\":\"x\",\"modelUsage\":[]}",
        b"[1,2]",
        b"\"text\"",
        b"null",
        b"{\xff\xfe}",
        b"{\"type\":\"step_finish\"}",
        b"{\"type\":\"turn.completed\",\"usage\":null}",
        b"{\"type\":\"turn.completed\"}",
        b"{\"type\":\"assistant\",\"message\":{\"id\":\"x\",\"usage\":{\"input_tokens\":\"many\",\"output_tokens\":-3}}}",
        &[b'{'; 5000],
    ];
    let cases = [
        (UsageFormat::Claude, RESULT.to_owned()),
        (
            UsageFormat::Codex,
            r#"{"type":"turn.completed","usage":{"input_tokens":5,"output_tokens":1}}"#.to_owned(),
        ),
        (
            UsageFormat::Gemini,
            r#"{"type":"result","stats":{"input_tokens":5,"output_tokens":1}}"#.to_owned(),
        ),
        (UsageFormat::Opencode, step("p", "0.5", [5, 1, 0, 0, 0])),
    ];
    for (format, good) in cases {
        let mut meter = UsageMeter::new(format);
        for line in noise {
            meter.line(line);
        }
        meter.line(good.as_bytes());
        let used = meter.finish().usage.unwrap();
        assert!(
            used.tokens_in >= 5 && used.tokens_out >= 1,
            "{format:?}: {used:?}"
        );
    }
    assert_eq!(read(UsageFormat::None, &[RESULT]), UsageReport::default());
}

#[test]
fn absurd_numbers_neither_overflow_nor_turn_negative() {
    let line = r#"{"type":"turn.completed","usage":{"input_tokens":99999999999999999999,"cached_input_tokens":1e300,"output_tokens":-1}}"#;
    let used = read(UsageFormat::Codex, &[line, line]).usage.unwrap();
    assert!(used.tokens_in > 0 && used.tokens_cached <= used.tokens_in && used.tokens_out == 0);
}

#[test]
fn a_broken_character_in_a_line_does_not_lose_its_usage() {
    let mut line = RESULT.as_bytes().to_vec();
    let at = line.windows(5).position(|w| w == b"Done.").unwrap();
    line[at] = 0xff;
    let mut meter = UsageMeter::new(UsageFormat::Claude);
    meter.line(&line);
    assert_eq!(meter.finish().usage, usage([2218, 52, 2100], Some(12_346)));
}

#[test]
fn output_may_come_cut_anywhere_and_the_last_line_may_lack_its_end() {
    let stream = format!("noise\n{INIT}\r\n{ASK}\n{RESULT}");
    for size in [1, 2, 7, 100, 4096, stream.len()] {
        let mut meter = UsageMeter::new(UsageFormat::Claude);
        for chunk in stream.as_bytes().chunks(size) {
            meter.bytes(chunk);
        }
        assert_eq!(
            meter.finish().usage,
            usage([2218, 52, 2100], Some(12_346)),
            "chunks of {size}"
        );
    }
}

#[test]
fn a_huge_line_is_skipped_and_the_next_one_is_read() {
    let mut meter = UsageMeter::new(UsageFormat::Claude);
    let huge = format!(
        r#"{{"type":"result","total_cost_usd":5,"result":"{}"}}"#,
        "x".repeat(3 << 20)
    );
    for chunk in huge.as_bytes().chunks(64 * 1024) {
        meter.bytes(chunk);
    }
    meter.bytes(b"\n");
    meter.bytes(RESULT.as_bytes());
    meter.bytes(b"\n");
    assert_eq!(meter.so_far(), usage([2218, 52, 2100], Some(12_346)));
    meter.line(huge.as_bytes());
    assert_eq!(meter.finish().usage, usage([2218, 52, 2100], Some(12_346)));
}
