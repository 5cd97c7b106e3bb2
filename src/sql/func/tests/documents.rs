//! JSON, digests, addresses.

use super::{check, connection};

#[test]
fn digests_and_addresses() {
    check(&[
        ("md5('testing')", "ae2b1fca515949e5d54fb22b8ed95575"),
        ("sha1('abc')", "a9993e364706816aba3e25717850c26c9cd0d89d"),
        ("sha2('abc', 224)", "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7"),
        ("sha2('abc', 1)", "NULL"),
        ("inet_aton('10.0.5.9')", "167773449"),
        ("inet_ntoa(167773449)", "10.0.5.9"),
        ("is_uuid('6ccd780c-baba-1026-9564-5b8c656024db')", "1"),
        ("format_bytes(512)", " 512 bytes"),
        ("format_bytes(18446644073709551615)", "16.00 EiB"),
        ("is_ipv4('10.0.5.256')", "0"),
    ]);
    let connection = connection();
    let id = "6ccd780c-baba-1026-9564-5b8c656024db";
    let round: String = connection
        .query_row(&format!("SELECT starling_bin_to_uuid(starling_uuid_to_bin('{id}',1),1)"), [], |r| {
            r.get(0)
        })
        .unwrap();
    assert_eq!(round, id);
    let swapped: Vec<u8> = connection
        .query_row(&format!("SELECT starling_uuid_to_bin('{id}',1)"), [], |r| r.get(0))
        .unwrap();
    assert_eq!(hex::encode(swapped), "1026baba6ccd780c95645b8c656024db");
}

#[test]
fn json() {
    check(&[
        ("json_extract('[10, 20, [30, 40]]', '$[1]')", "20"),
        ("json_extract('[10, 20, [30, 40]]', '$[2][*]')", "[30, 40]"),
        ("json_extract('{\"a\":{\"b\":\"x\"}}', '$.a.b')", "\"x\""),
        ("json_extract('{\"a\":1}', '$.a', '$.b')", "[1]"),
        ("json_extract('{\"a\":1}', '$.b')", "NULL"),
        ("json_extract('[1,2,3]', '$[last]')", "3"),
        ("json_extract('[1,2,3]', '$[0 to 1]')", "[1, 2]"),
        ("json_extract('{\"a\":{\"c\":1},\"b\":{\"c\":2}}', '$**.c')", "[1, 2]"),
        ("json_extract('x', '$')", "ERROR 3141"),
        ("json_extract('{}', 'a')", "ERROR 3143"),
        ("json_unquote('\"a\\\\tb\"')", "a\tb"),
        ("json_quote('a\"b')", "\"a\\\"b\""),
        ("json_array(1, 'abc', NULL, 1.5)", "[1, \"abc\", null, 1.5]"),
        ("json_object('id', 87, 'name', 'carrot')", "{\"id\": 87, \"name\": \"carrot\"}"),
        ("json_object('a', 1, NULL, 2)", "ERROR 3158"),
        (
            "json_set('{\"a\":1,\"b\":[2,3]}', '$.a', 10, '$.c', 'x')",
            "{\"a\": 10, \"b\": [2, 3], \"c\": \"x\"}",
        ),
        ("json_insert('{\"a\":1}', '$.a', 10, '$.c', 2)", "{\"a\": 1, \"c\": 2}"),
        ("json_replace('{\"a\":1}', '$.a', 10, '$.c', 2)", "{\"a\": 10}"),
        ("json_remove('[\"a\", [\"b\", \"c\"], \"d\"]', '$[1]')", "[\"a\", \"d\"]"),
        (
            "json_array_append('[\"a\", [\"b\", \"c\"], \"d\"]', '$[1]', 1)",
            "[\"a\", [\"b\", \"c\", 1], \"d\"]",
        ),
        ("json_array_insert('[1,2]', '$[1]', 9)", "[1, 9, 2]"),
        ("json_merge_patch('{\"a\":1,\"b\":2}', '{\"a\":3,\"b\":null}')", "{\"a\": 3}"),
        ("json_merge_preserve('[1, 2]', '[true]')", "[1, 2, true]"),
        ("json_contains('{\"a\":1,\"b\":[1,2]}', '1', '$.a')", "1"),
        ("json_contains('[1,2,[3]]', '[1,3]')", "1"),
        ("json_contains_path('{\"a\":1}', 'one', '$.a', '$.e')", "1"),
        ("json_contains_path('{\"a\":1}', 'all', '$.a', '$.e')", "0"),
        ("json_overlaps('[1,3]', '[3,4]')", "1"),
        ("json_search('[\"abc\", {\"x\":\"abc\"}]', 'all', 'abc')", "[\"$[0]\", \"$[1].x\"]"),
        ("json_length('{\"a\":1,\"b\":{\"c\":30}}')", "2"),
        ("json_depth('[10, {\"a\": 20}]')", "3"),
        ("json_keys('{\"bb\":1,\"a\":{\"c\":30}}')", "[\"a\", \"bb\"]"),
        ("json_type('[1]')", "ARRAY"),
        ("json_valid('{\"a\": 1}')", "1"),
        ("json_valid('hello')", "0"),
        ("json_valid(1)", "0"),
        ("json_value('{\"fname\":\"Joe\"}', '$.fname')", "Joe"),
        ("member of(17, '[23, \"abc\", 17]')", "1"),
        ("json_pretty('{\"a\":[1]}')", "{\n  \"a\": [\n    1\n  ]\n}"),
    ]);
}
