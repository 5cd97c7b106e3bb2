//! Who belongs to the cluster: the fold of its control entries.
//!
//! A node is admitted as *joining* (it has origins, no vote), is a *member* as soon as an epoch gives it a seat, *leaves* when it is to
//! be removed, and is *removed* when an epoch has taken its seat; it comes back only when it is *allowed* to, as joining, under new
//! origins. Epochs are decided by quorum, one seat at a time (PROTOCOL 17); the wishes (admitting, removing, allowing) are entries of
//! their own, so a node's standing is worked out from both.
//! Promises: member ids and origins are never reused; an origin stands for one incarnation of one log (PROTOCOL 1, 3); the fold
//! is pure, so every node that applied the same control entries knows the same members, epochs and fences.
//! Must not know: how entries are decided, appended or sent ([`super::admission`] decides about nodes).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use starling_log::{Control, Origin};

use super::quorum::{Change, Epoch, Seat, Version, Voter};

pub const ADMIT: &str = "admit";
pub const REORIGIN: &str = "reorigin";
pub const REMOVE: &str = "remove";
pub const ALLOW: &str = "allow";

/// 128 random bits: a node's identity, a cluster's, or an incarnation's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub u128);

impl Id {
    pub fn random() -> Id {
        Id(rand::random())
    }
    pub fn uuid(self) -> String {
        uuid::Uuid::from_u128(self.0).to_string()
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an identity of 32 hexadecimal digits")]
pub struct BadId;

impl FromStr for Id {
    type Err = BadId;
    fn from_str(s: &str) -> Result<Id, BadId> {
        if s.len() != 32 {
            return Err(BadId);
        }
        u128::from_str_radix(s, 16).map(Id).map_err(|_| BadId)
    }
}

impl Serialize for Id {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Id, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Where a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// It catches up, and has no vote.
    Joining,
    Member,
    /// It is to be removed, and still votes.
    Leaving,
    /// Everybody refuses it.
    Removed,
    /// It was removed, and may apply again.
    Allowed,
}

impl Standing {
    pub fn name(self) -> &'static str {
        match self {
            Standing::Joining => "joining",
            Standing::Member => "member",
            Standing::Leaving => "leaving",
            Standing::Removed => "removed",
            Standing::Allowed => "allowed",
        }
    }
}

/// What was wished of a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ban {
    #[default]
    No,
    Removed,
    Allowed,
}

/// The payload of an `admit` entry, and what is known of a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// 1 is the founder.
    pub member: u32,
    pub identity: Id,
    pub name: String,
    /// As advertised at admission: a hint.
    pub addr: String,
    /// Where its MySQL clients connect: for people.
    #[serde(default)]
    pub mysql_addr: String,
    /// For entries at `ONE`, and for quorum-decided entries.
    pub origins: [Origin; 2],
    /// Which incarnation of its log these origins stand for.
    pub incarnation: Id,
    /// Origins of earlier incarnations.
    #[serde(default)]
    pub closed: Vec<Origin>,
    #[serde(default)]
    pub ban: Ban,
}

impl Member {
    /// As an epoch counts its present incarnation.
    pub fn seat(&self) -> Seat {
        Seat {
            member: self.member,
            voter: self.origins[1],
            one: self.origins[0],
        }
    }
}

/// The payload of a `reorigin` entry: the member lost entries and comes back under new origins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reorigin {
    pub member: u32,
    pub identity: Id,
    pub origins: [Origin; 2],
    pub incarnation: Id,
    pub closed: [Origin; 2],
}

/// The payload of a `remove` entry: its seat is to be taken, and its sequences end (PROTOCOL 18).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remove {
    pub member: u32,
    pub identity: Id,
}

/// The payload of an `allow` entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allow {
    pub member: u32,
    pub identity: Id,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    list: BTreeMap<u32, Member>,
    next_member: u32,
    /// Wider than an origin, so that running out is seen.
    next_origin: u32,
    /// Every set of voters that was decided; without any the founder alone votes, as ever since.
    epochs: BTreeMap<u64, Epoch>,
    /// Voters that were in an epoch and are in no more.
    gone: BTreeSet<Voter>,
    /// Final numbers of origins that no longer count.
    fences: BTreeMap<Origin, u64>,
}

impl Members {
    /// Everybody who was ever admitted.
    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.list.values()
    }
    pub fn len(&self) -> usize {
        self.list.len()
    }
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
    /// Who votes now.
    pub fn epoch(&self) -> Epoch {
        match (self.epochs.last_key_value(), self.founder()) {
            (Some((_, epoch)), _) => epoch.clone(),
            (None, Some(founder)) => Epoch::new(1, vec![founder.seat()], Version::default()),
            (None, None) => Epoch::default(),
        }
    }
    /// Who voted in an epoch that was decided.
    pub fn config(&self, epoch: u64) -> Option<&Epoch> {
        self.epochs.get(&epoch)
    }
    /// Those of them who are here (a voter is one incarnation of a member).
    pub fn voters(&self) -> Vec<&Member> {
        let epoch = self.epoch();
        epoch.seats.iter().filter_map(|seat| self.list.get(&seat.member)).collect()
    }
    pub fn standing(&self, member: &Member) -> Standing {
        let epoch = self.epoch();
        let seated = epoch.seats.iter().any(|seat| seat.member == member.member);
        match (member.ban, seated) {
            (Ban::No | Ban::Allowed, true) if epoch.seats.contains(&member.seat()) => Standing::Member,
            (Ban::No | Ban::Allowed, true) | (Ban::No, false) => Standing::Joining,
            (Ban::Removed, true) => Standing::Leaving,
            (Ban::Removed, false) => Standing::Removed,
            (Ban::Allowed, false) => Standing::Allowed,
        }
    }
    pub fn standing_of(&self, identity: Id) -> Option<Standing> {
        self.by_identity(identity).map(|m| self.standing(m))
    }
    /// May it (still) become a voter?
    pub fn takes_part(&self, member: &Member) -> bool {
        member.ban != Ban::Removed && !self.gone.contains(&member.origins[1])
    }
    /// Nothing of this origin counts beyond that place.
    pub fn fence(&self, origin: Origin) -> Option<u64> {
        self.fences.get(&origin).copied()
    }
    /// It has no seat, and does not get one as who it was: everybody refuses it. (If allowed, it applies again.)
    pub fn is_removed(&self, identity: Id) -> bool {
        matches!(self.standing_of(identity), Some(Standing::Removed | Standing::Allowed))
    }
    /// By number, name (of one who is not removed first) or identity.
    pub fn find(&self, text: &str) -> Option<&Member> {
        let number = text.parse().ok().and_then(|n| self.get(n));
        let named = || {
            let there = self.list.values().filter(|m| m.name == text);
            there.min_by_key(|m| m.ban != Ban::No)
        };
        number
            .or_else(|| text.parse().ok().and_then(|id| self.by_identity(id)))
            .or_else(named)
    }
    pub fn get(&self, member: u32) -> Option<&Member> {
        self.list.get(&member)
    }
    pub fn by_identity(&self, identity: Id) -> Option<&Member> {
        self.list.values().find(|m| m.identity == identity)
    }
    /// The member whose sequence this is, closed ones included.
    pub fn by_origin(&self, origin: Origin) -> Option<&Member> {
        self.list
            .values()
            .find(|m| m.origins.contains(&origin) || m.closed.contains(&origin))
    }
    /// The only one that admits until quorums do.
    pub fn founder(&self) -> Option<&Member> {
        self.list.get(&1)
    }

    /// Folds one control entry in; kinds of others are none of its business. `false`: nothing changed.
    pub fn fold(&mut self, control: &Control) -> Result<bool, serde_json::Error> {
        let payload = &control.payload;
        Ok(match control.kind.as_str() {
            ADMIT => self.admitted(serde_json::from_slice(payload)?),
            REORIGIN => self.reoriginated(&serde_json::from_slice(payload)?),
            REMOVE => {
                let remove: Remove = serde_json::from_slice(payload)?;
                self.banned(remove.member, &[Ban::No, Ban::Allowed], Ban::Removed)
            }
            ALLOW => {
                let allow: Allow = serde_json::from_slice(payload)?;
                self.banned(allow.member, &[Ban::Removed], Ban::Allowed)
            }
            _ => false,
        })
    }

    fn admitted(&mut self, member: Member) -> bool {
        self.used(member.member, member.origins.iter().chain(&member.closed));
        self.list.insert(member.member, member).is_none()
    }

    /// Under new origins it is another voter.
    fn reoriginated(&mut self, change: &Reorigin) -> bool {
        self.used(change.member, change.origins.iter().chain(&change.closed));
        let Some(member) = self.list.get_mut(&change.member) else {
            return false;
        };
        member.closed.extend(change.closed);
        member.origins = change.origins;
        member.incarnation = change.incarnation;
        member.ban = Ban::No;
        true
    }

    fn banned(&mut self, member: u32, from: &[Ban], to: Ban) -> bool {
        let member = self.list.get_mut(&member).filter(|m| from.contains(&m.ban));
        member.map(|m| m.ban = to).is_some()
    }

    /// Folds a change of voters in. Changes come in the order of their epochs.
    pub fn change(&mut self, change: Change) {
        self.fences.extend(change.fences);
        let Some(epoch) = change.epoch else { return };
        let before = self.epoch();
        if epoch.number <= before.number {
            return;
        }
        self.gone.extend(before.voters().filter(|v| !epoch.has(*v)));
        self.epochs.insert(epoch.number, epoch);
    }

    /// Numbers seen anywhere are never given out again.
    pub fn used<'a>(&mut self, member: u32, origins: impl Iterator<Item = &'a Origin>) {
        self.next_member = self.next_member.max(member.saturating_add(1));
        for origin in origins {
            self.next_origin = self.next_origin.max(u32::from(*origin) + 1);
        }
    }

    /// The next free numbers of origins.
    pub(super) fn new_origins(&self) -> Option<[Origin; 2]> {
        let first = self.next_origin.max(1);
        Some([Origin::try_from(first).ok()?, Origin::try_from(first + 1).ok()?])
    }
    pub(super) fn new_member(&self) -> u32 {
        self.next_member.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_are_32_digits() {
        let id = Id(0xabc);
        assert_eq!(id.to_string().parse::<Id>(), Ok(id));
        assert!("abc".parse::<Id>().is_err());
        assert_eq!(serde_json::from_str::<Id>(&serde_json::to_string(&id).unwrap()).unwrap(), id);
    }
}
