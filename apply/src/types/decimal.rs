//! Exact decimal numbers, as DECIMAL columns and MySQL's decimal arithmetic have them (up to 65 digits, scale up to 30).
//!
//! Promises: results are exact or rounded half away from zero at the scale asked for; no negative zero. Numbers whose digits fit
//! 127 bits never touch the heap. Must not know: columns, errors of MySQL (callers check the bounds they have).

use std::cmp::Ordering;

use bigdecimal::num_bigint::BigInt;
use bigdecimal::{Signed, ToPrimitive, Zero};

/// MySQL's bounds.
pub const PRECISION_MAX: u32 = 65;
pub const SCALE_MAX: u32 = 30;
/// How many decimals a quotient has beyond those of the dividend (`div_precision_increment`).
pub const DIVISION_INCREMENT: u32 = 4;
/// Exponents beyond it make a number zero or too large in any case.
const EXPONENT_MAX: i64 = 1000;

#[derive(Clone, Debug)]
enum Digits {
    Small(i128),
    Big(BigInt),
}

/// `digits × 10^-scale`
#[derive(Clone, Debug)]
pub struct Decimal {
    digits: Digits,
    scale: u32,
}

/// What was read from the front of a text.
pub struct Prefix {
    pub value: Decimal,
    /// Bytes that were part of the number (leading blanks included); 0: there was none.
    pub used: usize,
}

impl Digits {
    fn big(&self) -> BigInt {
        match self {
            Digits::Small(v) => BigInt::from(*v),
            Digits::Big(v) => v.clone(),
        }
    }
    fn from_big(v: BigInt) -> Digits {
        v.to_i128().map_or(Digits::Big(v), Digits::Small)
    }
    fn times_ten(&self, power: u32) -> Digits {
        if let (Digits::Small(v), Some(factor)) = (self, 10i128.checked_pow(power))
            && let Some(product) = v.checked_mul(factor)
        {
            return Digits::Small(product);
        }
        Digits::from_big(self.big() * BigInt::from(10).pow(power))
    }
    fn is_zero(&self) -> bool {
        match self {
            Digits::Small(v) => *v == 0,
            Digits::Big(v) => v.is_zero(),
        }
    }
    fn is_negative(&self) -> bool {
        match self {
            Digits::Small(v) => *v < 0,
            Digits::Big(v) => v.is_negative(),
        }
    }
}

impl From<i64> for Decimal {
    fn from(v: i64) -> Decimal {
        Decimal::small(i128::from(v), 0)
    }
}

impl From<u64> for Decimal {
    fn from(v: u64) -> Decimal {
        Decimal::small(i128::from(v), 0)
    }
}

impl Decimal {
    pub const fn small(digits: i128, scale: u32) -> Decimal {
        Decimal {
            digits: Digits::Small(digits),
            scale,
        }
    }
    pub const ZERO: Decimal = Decimal::small(0, 0);

    /// All of `text` (blanks around it allowed), or `None`.
    pub fn parse(text: &[u8]) -> Option<Decimal> {
        let prefix = Decimal::parse_prefix(text);
        let rest = text.get(prefix.used..)?;
        (prefix.used > 0 && rest.iter().all(u8::is_ascii_whitespace)).then_some(prefix.value)
    }

    /// The longest number at the front: `[blanks][sign]digits[.digits][e[sign]digits]`.
    pub fn parse_prefix(text: &[u8]) -> Prefix {
        let blanks = text.iter().take_while(|b| b.is_ascii_whitespace()).count();
        let mut at = blanks;
        let negative = text.get(at) == Some(&b'-');
        if matches!(text.get(at), Some(b'-' | b'+')) {
            at += 1;
        }
        let whole = digit_run(&text[at..]);
        let mut fraction: &[u8] = &[];
        let mut end = at + whole.len();
        if text.get(end) == Some(&b'.') {
            fraction = digit_run(&text[end + 1..]);
            if !whole.is_empty() || !fraction.is_empty() {
                end += 1 + fraction.len();
            }
        }
        if whole.is_empty() && fraction.is_empty() {
            return Prefix {
                value: Decimal::ZERO,
                used: 0,
            };
        }
        let mut value = Decimal::from_digits(negative, whole, fraction);
        if let Some((exponent, used)) = exponent(&text[end..]) {
            value = value.shift(exponent);
            end += used;
        }
        Prefix { value, used: end }
    }

    fn from_digits(negative: bool, whole: &[u8], fraction: &[u8]) -> Decimal {
        let scale = fraction.len() as u32;
        let digits = if whole.len() + fraction.len() <= 38 {
            let v = whole.iter().chain(fraction).fold(0i128, |n, b| n * 10 + i128::from(b - b'0'));
            Digits::Small(if negative { -v } else { v })
        } else {
            let all = [whole, fraction].concat();
            let v = BigInt::parse_bytes(&all, 10).unwrap_or_default();
            Digits::from_big(if negative { -v } else { v })
        };
        Decimal { digits, scale }
    }

    /// Times ten to the `exponent`.
    fn shift(self, exponent: i64) -> Decimal {
        let exponent = exponent.clamp(-EXPONENT_MAX, EXPONENT_MAX);
        let scale = i64::from(self.scale) - exponent;
        if scale >= 0 {
            return Decimal {
                digits: self.digits,
                scale: scale as u32,
            };
        }
        Decimal {
            digits: self.digits.times_ten((-scale) as u32),
            scale: 0,
        }
    }

    /// By the shortest text that reads back as `v`; NaN and infinities are 0.
    pub fn from_f64(v: f64) -> Decimal {
        if !v.is_finite() {
            return Decimal::ZERO;
        }
        Decimal::parse_prefix(ryu::Buffer::new().format_finite(v).as_bytes())
            .value
            .trimmed()
    }

    /// Without trailing zeros behind the point.
    fn trimmed(mut self) -> Decimal {
        if let Digits::Small(mut v) = self.digits {
            while self.scale > 0 && v % 10 == 0 {
                v /= 10;
                self.scale -= 1;
            }
            self.digits = Digits::Small(v);
        }
        self
    }

    pub fn to_f64(&self) -> f64 {
        match &self.digits {
            Digits::Small(v) if self.scale == 0 => *v as f64,
            _ => self.to_string().parse().unwrap_or(0.0),
        }
    }

    /// Rounded to an integer; `None` beyond 127 bits.
    pub fn to_i128(&self) -> Option<i128> {
        match self.round(0).digits {
            Digits::Small(v) => Some(v),
            Digits::Big(_) => None,
        }
    }

    pub fn scale(&self) -> u32 {
        self.scale
    }
    pub fn is_zero(&self) -> bool {
        self.digits.is_zero()
    }
    pub fn is_negative(&self) -> bool {
        self.digits.is_negative()
    }

    /// Digits before the point, without leading zeros.
    pub fn integer_digits(&self) -> u32 {
        let total = match &self.digits {
            Digits::Small(0) => 0,
            Digits::Small(v) => v.unsigned_abs().ilog10() + 1,
            Digits::Big(v) => v.magnitude().to_string().len() as u32,
        };
        total.saturating_sub(self.scale)
    }

    pub fn neg(&self) -> Decimal {
        let digits = match &self.digits {
            Digits::Small(v) if *v != i128::MIN => Digits::Small(-v),
            other => Digits::from_big(-other.big()),
        };
        Decimal { digits, scale: self.scale }
    }
    pub fn abs(&self) -> Decimal {
        if self.is_negative() { self.neg() } else { self.clone() }
    }

    /// Both at the larger scale.
    fn aligned(&self, other: &Decimal) -> (Digits, Digits, u32) {
        let scale = self.scale.max(other.scale);
        let raise = |d: &Decimal| {
            if d.scale == scale {
                d.digits.clone()
            } else {
                d.digits.times_ten(scale - d.scale)
            }
        };
        (raise(self), raise(other), scale)
    }

    pub fn add(&self, other: &Decimal) -> Decimal {
        let (a, b, scale) = self.aligned(other);
        let digits = match (&a, &b) {
            (Digits::Small(x), Digits::Small(y)) => x.checked_add(*y).map(Digits::Small),
            _ => None,
        };
        Decimal {
            digits: digits.unwrap_or_else(|| Digits::from_big(a.big() + b.big())),
            scale,
        }
    }
    pub fn sub(&self, other: &Decimal) -> Decimal {
        self.add(&other.neg())
    }
    pub fn mul(&self, other: &Decimal) -> Decimal {
        let digits = match (&self.digits, &other.digits) {
            (Digits::Small(x), Digits::Small(y)) => x.checked_mul(*y).map(Digits::Small),
            _ => None,
        };
        let product = Decimal {
            digits: digits.unwrap_or_else(|| Digits::from_big(self.digits.big() * other.digits.big())),
            scale: self.scale + other.scale,
        };
        if product.scale > SCALE_MAX {
            product.round(SCALE_MAX)
        } else {
            product
        }
    }
    /// With `scale` decimals; `None` when dividing by zero.
    pub fn div(&self, other: &Decimal, scale: u32) -> Option<Decimal> {
        if other.is_zero() {
            return None;
        }
        // one digit more than asked for is not enough to round right, so round on the exact remainder
        let raise = i64::from(scale) + i64::from(other.scale) - i64::from(self.scale);
        let (numerator, denominator) = if raise >= 0 {
            (self.digits.times_ten(raise as u32), other.digits.clone())
        } else {
            (self.digits.clone(), other.digits.times_ten((-raise) as u32))
        };
        Some(Decimal {
            digits: divide_rounded(&numerator, &denominator),
            scale,
        })
    }
    /// Quotient without its fraction.
    pub fn div_integer(&self, other: &Decimal) -> Option<Decimal> {
        if other.is_zero() {
            return None;
        }
        let (a, b, _) = self.aligned(other);
        let digits = match (&a, &b) {
            (Digits::Small(x), Digits::Small(y)) => x.checked_div(*y).map(Digits::Small),
            _ => None,
        };
        Some(Decimal {
            digits: digits.unwrap_or_else(|| Digits::from_big(a.big() / b.big())),
            scale: 0,
        })
    }
    /// Remainder with the sign of the dividend.
    pub fn rem(&self, other: &Decimal) -> Option<Decimal> {
        if other.is_zero() {
            return None;
        }
        let (a, b, scale) = self.aligned(other);
        let digits = match (&a, &b) {
            (Digits::Small(x), Digits::Small(y)) => x.checked_rem(*y).map(Digits::Small),
            _ => None,
        };
        Some(Decimal {
            digits: digits.unwrap_or_else(|| Digits::from_big(a.big() % b.big())),
            scale,
        })
    }

    /// With exactly `scale` decimals, half away from zero.
    pub fn round(&self, scale: u32) -> Decimal {
        match scale.cmp(&self.scale) {
            Ordering::Equal => self.clone(),
            Ordering::Greater => Decimal {
                digits: self.digits.times_ten(scale - self.scale),
                scale,
            },
            Ordering::Less => Decimal {
                digits: divide_rounded(&self.digits, &Digits::Small(1).times_ten(self.scale - scale)),
                scale,
            },
        }
    }
    /// With exactly `scale` decimals, the others cut off.
    pub fn truncate(&self, scale: u32) -> Decimal {
        if scale >= self.scale {
            return self.round(scale);
        }
        let unit = Digits::Small(1).times_ten(self.scale - scale);
        let digits = match (&self.digits, &unit) {
            (Digits::Small(x), Digits::Small(y)) => Digits::Small(x / y),
            (a, b) => Digits::from_big(a.big() / b.big()),
        };
        Decimal { digits, scale }
    }
    /// The largest integer not above (`up`: the smallest not below).
    pub fn to_integer(&self, up: bool) -> Decimal {
        let cut = self.truncate(0);
        if cut.compare(self) == Ordering::Equal || self.is_negative() == up {
            return cut;
        }
        cut.add(&Decimal::small(if up { 1 } else { -1 }, 0))
    }
    /// Rounded (or cut) at `places` decimals; negative ones are digits before the point.
    pub fn round_places(&self, places: i64, cut: bool) -> Decimal {
        let at = |d: &Decimal, scale: u32| if cut { d.truncate(scale) } else { d.round(scale) };
        if places >= 0 {
            let places = (places as u64).min(u64::from(self.scale)) as u32;
            return at(self, places);
        }
        let power = places.unsigned_abs().min(2 * u64::from(PRECISION_MAX)) as u32;
        let shifted = Decimal {
            digits: self.digits.clone(),
            scale: self.scale + power,
        };
        Decimal {
            digits: at(&shifted, 0).digits.times_ten(power),
            scale: 0,
        }
    }

    pub fn compare(&self, other: &Decimal) -> Ordering {
        let (a, b, _) = self.aligned(other);
        match (&a, &b) {
            (Digits::Small(x), Digits::Small(y)) => x.cmp(y),
            _ => a.big().cmp(&b.big()),
        }
    }

    /// The largest number of so many digits (`99.99` for 4, 2).
    pub fn largest(precision: u32, scale: u32) -> Decimal {
        let nines = Digits::Small(1).times_ten(precision);
        Decimal {
            digits: Digits::from_big(nines.big() - 1),
            scale,
        }
    }
    /// Rounded to `scale`; beyond the bounds of DECIMAL(precision, scale): the nearest bound, and `true`.
    pub fn fit(&self, precision: u32, scale: u32) -> (Decimal, bool) {
        let rounded = self.round(scale);
        if rounded.integer_digits() + scale <= precision {
            return (rounded, false);
        }
        let bound = Decimal::largest(precision, scale);
        (if self.is_negative() { bound.neg() } else { bound }, true)
    }

    /// Canonical text: exactly `scale` decimals.
    pub fn write(&self, out: &mut Vec<u8>) {
        let scale = self.scale as usize;
        if self.is_negative() {
            out.push(b'-');
        }
        let big;
        let mut buffer = itoa::Buffer::new();
        let digits = match &self.digits {
            Digits::Small(v) => buffer.format(v.unsigned_abs()),
            Digits::Big(v) => {
                big = v.magnitude().to_string();
                &big
            }
        };
        if digits.len() <= scale {
            out.extend_from_slice(b"0.");
            out.resize(out.len() + scale - digits.len(), b'0');
            // "0" at scale 0 has no point
            if scale == 0 {
                out.truncate(out.len() - 2);
            }
            out.extend_from_slice(digits.as_bytes());
            return;
        }
        let (whole, fraction) = digits.as_bytes().split_at(digits.len() - scale);
        out.extend_from_slice(whole);
        if scale > 0 {
            out.push(b'.');
            out.extend_from_slice(fraction);
        }
    }
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(24);
        self.write(&mut out);
        out
    }
}

impl std::fmt::Display for Decimal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.to_bytes()))
    }
}

fn divide_rounded(numerator: &Digits, denominator: &Digits) -> Digits {
    if let (Digits::Small(n), Digits::Small(d)) = (numerator, denominator)
        && let (Some(q), Some(r)) = (n.checked_div(*d), n.checked_rem(*d))
    {
        let away = r.unsigned_abs() >= d.unsigned_abs() - r.unsigned_abs();
        let sign = if (*n < 0) == (*d < 0) { 1 } else { -1 };
        return Digits::Small(if r != 0 && away { q + sign } else { q });
    }
    let (n, d) = (numerator.big(), denominator.big());
    let (q, r) = (&n / &d, &n % &d);
    let away = r.magnitude() * 2u8 >= *d.magnitude() && !r.is_zero();
    let sign = if n.is_negative() == d.is_negative() { 1 } else { -1 };
    Digits::from_big(if away { q + sign } else { q })
}

fn digit_run(text: &[u8]) -> &[u8] {
    &text[..text.iter().take_while(|b| b.is_ascii_digit()).count()]
}

/// `e[sign]digits` at the front: its value and length.
fn exponent(text: &[u8]) -> Option<(i64, usize)> {
    if !matches!(text.first(), Some(b'e' | b'E')) {
        return None;
    }
    let signed = matches!(text.get(1), Some(b'+' | b'-'));
    let start = 1 + usize::from(signed);
    let digits = digit_run(&text[start..]);
    if digits.is_empty() {
        return None;
    }
    let value = digits.iter().fold(0i64, |n, b| (n * 10 + i64::from(b - b'0')).min(EXPONENT_MAX));
    Some((if text[1] == b'-' { -value } else { value }, start + digits.len()))
}

/// Order of two canonical decimal texts (integers and 20-digit unsigned forms included), without parsing them into numbers.
pub fn compare_text(a: &[u8], b: &[u8]) -> Ordering {
    let (a_negative, a) = unsigned_part(a);
    let (b_negative, b) = unsigned_part(b);
    match (a_negative, b_negative) {
        (false, true) => Ordering::Greater,
        (true, false) => Ordering::Less,
        (false, false) => compare_magnitude(a, b),
        (true, true) => compare_magnitude(b, a),
    }
}

/// Sign (zero has none) and the rest without leading zeros.
fn unsigned_part(text: &[u8]) -> (bool, &[u8]) {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let zeros = digits.iter().take_while(|b| **b == b'0').count();
    let digits = &digits[zeros..];
    let is_zero = digits.iter().all(|b| matches!(b, b'0' | b'.'));
    (negative && !is_zero, digits)
}

fn compare_magnitude(a: &[u8], b: &[u8]) -> Ordering {
    let split = |t: &'_ [u8]| memchr::memchr(b'.', t).unwrap_or(t.len());
    let (a_point, b_point) = (split(a), split(b));
    a_point.cmp(&b_point).then_with(|| a[..a_point].cmp(&b[..b_point])).then_with(|| {
        let fraction_a = a.get(a_point + 1..).unwrap_or(&[]);
        let fraction_b = b.get(b_point + 1..).unwrap_or(&[]);
        let longest = fraction_a.len().max(fraction_b.len());
        let digit = |t: &[u8], i: usize| t.get(i).copied().unwrap_or(b'0');
        (0..longest)
            .map(|i| digit(fraction_a, i).cmp(&digit(fraction_b, i)))
            .find(|o| o.is_ne())
            .unwrap_or(Ordering::Equal)
    })
}

#[cfg(test)]
mod tests;
