//! The words of MySQL 8.0 that mean something to the grammar, and which of them are reserved.
//!
//! Promises: `RESERVED` is MySQL 8.0's list exactly; the other words stay usable as names. Lookup ignores ASCII case and allocates nothing.
//! Must not know: where in a statement a word stands.

macro_rules! keywords {
    (reserved: $($r:ident)*; words: $($w:ident)*;) => {
        /// A word of the grammar; `None` for every other identifier.
        #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u16)]
        pub enum Kw { None, $($r,)* $($w,)* }
        const ALL: &[Kw] = &[Kw::None, $(Kw::$r,)* $(Kw::$w,)*];
        const NAMES: &[&str] = &["", $(stringify!($r),)* $(stringify!($w),)*];
        const RESERVED: usize = [$(stringify!($r)),*].len();
    };
}

keywords! {
    reserved:
    ACCESSIBLE ADD ALL ALTER ANALYZE AND AS ASC ASENSITIVE BEFORE BETWEEN BIGINT BINARY BLOB BOTH BY CALL CASCADE CASE CHANGE CHAR
    CHARACTER CHECK COLLATE COLUMN CONDITION CONSTRAINT CONTINUE CONVERT CREATE CROSS CUBE CUME_DIST CURRENT_DATE CURRENT_TIME
    CURRENT_TIMESTAMP CURRENT_USER CURSOR DATABASE DATABASES DAY_HOUR DAY_MICROSECOND DAY_MINUTE DAY_SECOND DEC DECIMAL DECLARE
    DEFAULT DELAYED DELETE DENSE_RANK DESC DESCRIBE DETERMINISTIC DISTINCT DISTINCTROW DIV DOUBLE DROP DUAL EACH ELSE ELSEIF EMPTY
    ENCLOSED ESCAPED EXCEPT EXISTS EXIT EXPLAIN FALSE FETCH FIRST_VALUE FLOAT FLOAT4 FLOAT8 FOR FORCE FOREIGN FROM FULLTEXT FUNCTION
    GENERATED GET GRANT GROUP GROUPING GROUPS HAVING HIGH_PRIORITY HOUR_MICROSECOND HOUR_MINUTE HOUR_SECOND IF IGNORE IN INDEX INFILE
    INNER INOUT INSENSITIVE INSERT INT INT1 INT2 INT3 INT4 INT8 INTEGER INTERSECT INTERVAL INTO IO_AFTER_GTIDS IO_BEFORE_GTIDS IS
    ITERATE JOIN JSON_TABLE KEY KEYS KILL LAG LAST_VALUE LATERAL LEAD LEADING LEAVE LEFT LIKE LIMIT LINEAR LINES LOAD LOCALTIME
    LOCALTIMESTAMP LOCK LONG LONGBLOB LONGTEXT LOOP LOW_PRIORITY MASTER_BIND MASTER_SSL_VERIFY_SERVER_CERT MATCH MAXVALUE MEDIUMBLOB
    MEDIUMINT MEDIUMTEXT MIDDLEINT MINUTE_MICROSECOND MINUTE_SECOND MOD MODIFIES NATURAL NOT NO_WRITE_TO_BINLOG NTH_VALUE NTILE NULL
    NUMERIC OF ON OPTIMIZE OPTIMIZER_COSTS OPTION OPTIONALLY OR ORDER OUT OUTER OUTFILE OVER PARTITION PERCENT_RANK PRECISION PRIMARY
    PROCEDURE PURGE RANGE RANK READ READS READ_WRITE REAL RECURSIVE REFERENCES REGEXP RELEASE RENAME REPEAT REPLACE REQUIRE RESIGNAL
    RESTRICT RETURN REVOKE RIGHT RLIKE ROW ROWS ROW_NUMBER SCHEMA SCHEMAS SECOND_MICROSECOND SELECT SENSITIVE SEPARATOR SET SHOW SIGNAL
    SMALLINT SPATIAL SPECIFIC SQL SQLEXCEPTION SQLSTATE SQLWARNING SQL_BIG_RESULT SQL_CALC_FOUND_ROWS SQL_SMALL_RESULT SSL STARTING
    STORED STRAIGHT_JOIN SYSTEM TABLE TERMINATED THEN TINYBLOB TINYINT TINYTEXT TO TRAILING TRIGGER TRUE UNDO UNION UNIQUE UNLOCK
    UNSIGNED UPDATE USAGE USE USING UTC_DATE UTC_TIME UTC_TIMESTAMP VALUES VARBINARY VARCHAR VARCHARACTER VARYING VIRTUAL WHEN WHERE
    WHILE WINDOW WITH WRITE XOR YEAR_MONTH ZEROFILL;
    words:
    ACCOUNT ACTION ADDDATE AFTER AGAINST AGGREGATE ALGORITHM ALWAYS ANY ARRAY ASCII AT AUTOEXTEND_SIZE AUTO_INCREMENT AVG_ROW_LENGTH BACKUP BEGIN
    BINLOG BIT BIT_AND BIT_OR BIT_XOR BOOL BOOLEAN BTREE BYTE CACHE CASCADED CAST CHAIN CHANGED CHANNEL CHARSET CHECKSUM CLONE CLOSE COALESCE CODE
    COLLATION COLUMNS COLUMN_FORMAT COMMENT COMMIT COMMITTED COMPONENT COMPRESSED COMPRESSION CONCURRENT CONNECTION CONSISTENT COUNT CURDATE
    CURRENT CURTIME DATA DATE DATETIME DATE_ADD DATE_SUB DAY DEALLOCATE DEFINER DELAY_KEY_WRITE DIAGNOSTICS DIRECTORY DISABLE DISCARD DISK DO
    DUMPFILE DUPLICATE DYNAMIC ENABLE ENCRYPTION END ENFORCED ENGINE ENGINES ENGINE_ATTRIBUTE ENUM ERROR ERRORS ESCAPE EVENT EVENTS
    EXCHANGE EXCLUDE EXECUTE EXPANSION EXPORT EXTENDED EXTRACT FAST FIELDS FIRST FIXED FLUSH FOLLOWING FORMAT FULL GEOMCOLLECTION
    GEOMETRY GEOMETRYCOLLECTION GET_FORMAT GLOBAL GRANTS GROUP_CONCAT HANDLER HASH HELP HISTOGRAM HOST HOSTS HOUR IDENTIFIED IMMEDIATE
    IMPORT INDEXES INPLACE INSERT_METHOD INSTALL INSTANCE INSTANT INVISIBLE INVOKER ISOLATION JSON JSON_ARRAYAGG JSON_OBJECTAGG
    JSON_VALUE KEY_BLOCK_SIZE LANGUAGE LAST LESS LEVEL LINESTRING LIST LOCAL LOCKED LOG LOGFILE LOGS MASTER MAX MAX_ROWS MEDIUM MEMBER
    MEMORY MERGE MICROSECOND MID MIGRATE MIN MINUTE MIN_ROWS MODE MODIFY MONTH MULTILINESTRING MULTIPOINT MULTIPOLYGON MUTEX NAME NAMES
    NATIONAL NCHAR NESTED NEVER NEXT NO NODEGROUP NOCACHE NOCOPY NOWAIT NOW NULLS NUMBER NVARCHAR OFFSET OJ ONLY OPEN OPTIONS
    ORDINALITY OTHERS PACK_KEYS PAGE_CHECKSUM PAGE_COMPRESSED PARSER PARTIAL PARTITIONS PASSWORD PATH PERSIST PERSISTENT PERSIST_ONLY
    PLUGIN PLUGINS POINT POLYGON POSITION PRECEDING PREPARE PREV PRIVILEGES PROCEDURAL PROCESS PROCESSLIST PROFILE PROFILES PROXY
    QUARTER QUERY QUICK READ_ONLY REBUILD RECOVER REDUNDANT RELAYLOG RELOAD REMOVE REORGANIZE REPAIR REPEATABLE REPLICA REPLICAS
    REPLICATION RESET RESIGN RESOURCE RESPECT RESTART RESTORE RETURNED_SQLSTATE RETURNING RETURNS REVERSE ROLE ROLLBACK ROLLUP
    ROW_COUNT ROW_FORMAT SAVEPOINT SECOND SECONDARY_ENGINE SECONDARY_LOAD SECONDARY_UNLOAD SECURITY SECONDARY_ENGINE_ATTRIBUTE SEQUENCE SERIAL SERIALIZABLE SERVER SESSION
    SESSION_USER SHARE SHARED SHUTDOWN SIGNED SIMPLE SKIP SLAVE SNAPSHOT SOME SOUNDS SQL_BUFFER_RESULT SQL_CACHE SQL_NO_CACHE SRID START
    STATS_AUTO_RECALC STATS_PERSISTENT STATS_SAMPLE_PAGES STATUS STD STDDEV STDDEV_POP STDDEV_SAMP STOP STORAGE STRING ST_COLLECT
    SUBDATE SUBPARTITION SUBSTR SUBSTRING SUM SUPER SUSPEND SYSDATE SYSTEM_USER TABLES TABLESPACE TABLE_CHECKSUM TEMPORARY TEMPTABLE TEXT
    THAN TIME TIMESTAMP TIMESTAMPADD TIMESTAMPDIFF TRADITIONAL TRANSACTION TRANSACTIONAL TREE TRIGGERS TRIM TRUNCATE TYPE UNBOUNDED
    UNCOMMITTED UNDEFINED UNDO_BUFFER_SIZE UNICODE UNINSTALL UNKNOWN UPGRADE USER USE_FRM VALIDATION VALUE VARIABLES VARIANCE VAR_POP VAR_SAMP
    VECTOR VIEW VISIBLE WAIT WARNINGS WEEK WEIGHT_STRING WITHOUT WORK WRAPPER XA XML YEAR;
}

const SIZE: usize = 2048;
const LONGEST: usize = 29;

/// Word number by hash, linear probing; 0 is free.
const TABLE: [u16; SIZE] = build();

const fn hash(word: &[u8]) -> usize {
    let mut h: u32 = 0x811c_9dc5;
    let mut i = 0;
    while i < word.len() {
        h = (h ^ (word[i] & 0xdf) as u32).wrapping_mul(0x0100_0193);
        i += 1;
    }
    ((h ^ (h >> 15)) as usize) % SIZE
}

const fn build() -> [u16; SIZE] {
    let mut table = [0u16; SIZE];
    let mut n = 1;
    while n < NAMES.len() {
        let mut at = hash(NAMES[n].as_bytes());
        while table[at] != 0 {
            at = (at + 1) % SIZE;
        }
        table[at] = n as u16;
        n += 1;
    }
    table
}

impl Kw {
    /// The word's meaning, whatever its case.
    pub fn lookup(word: &[u8]) -> Kw {
        if word.len() > LONGEST || word.len() < 2 {
            return Kw::None;
        }
        let mut at = hash(word);
        loop {
            let n = TABLE[at] as usize;
            if n == 0 {
                return Kw::None;
            }
            if NAMES[n].as_bytes().eq_ignore_ascii_case(word) {
                return ALL[n];
            }
            at = (at + 1) % SIZE;
        }
    }
    pub fn is_reserved(self) -> bool {
        let n = self as usize;
        n != 0 && n <= RESERVED
    }
    /// Upper case.
    pub fn name(self) -> &'static str {
        NAMES[self as usize]
    }
    /// Functions that MySQL recognises only where `(` follows at once (or after spaces, under IGNORE_SPACE); there they are no names.
    pub fn needs_paren(self) -> bool {
        use Kw::*;
        matches!(
            self,
            ADDDATE
                | BIT_AND
                | BIT_OR
                | BIT_XOR
                | CAST
                | COUNT
                | CURDATE
                | CURTIME
                | DATE_ADD
                | DATE_SUB
                | EXTRACT
                | GROUP_CONCAT
                | JSON_ARRAYAGG
                | JSON_OBJECTAGG
                | MAX
                | MID
                | MIN
                | NOW
                | POSITION
                | SESSION_USER
                | STD
                | STDDEV
                | STDDEV_POP
                | STDDEV_SAMP
                | ST_COLLECT
                | SUBDATE
                | SUBSTR
                | SUBSTRING
                | SUM
                | SYSDATE
                | SYSTEM_USER
                | TRIM
                | VARIANCE
                | VAR_POP
                | VAR_SAMP
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_found_in_any_case() {
        for (n, name) in NAMES.iter().enumerate().skip(1) {
            assert!(name.len() <= LONGEST, "{name} is longer than LONGEST");
            assert_eq!(Kw::lookup(name.as_bytes()), ALL[n]);
            assert_eq!(Kw::lookup(name.to_lowercase().as_bytes()), ALL[n]);
        }
        assert_eq!(Kw::lookup(b"selec"), Kw::None);
        assert_eq!(Kw::lookup(b""), Kw::None);
    }

    #[test]
    fn reserved_is_what_mysql_reserves() {
        for word in ["select", "groups", "rank", "system", "zerofill", "accessible", "of", "empty"] {
            assert!(Kw::lookup(word.as_bytes()).is_reserved(), "{word}");
        }
        for word in [
            "status",
            "date",
            "offset",
            "value",
            "count",
            "user",
            "end",
            "year",
            "any",
            "returning",
            "member",
        ] {
            assert!(!Kw::lookup(word.as_bytes()).is_reserved(), "{word}");
        }
    }
}
