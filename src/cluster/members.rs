//! Who belongs to the cluster: the fold of its control entries, and the decisions of the founder that makes them.
//!
//! Promises: member ids and origins are never reused; an origin stands for one incarnation of one log (PROTOCOL 1, 3); the fold
//! is pure, so every node that applied the same control entries knows the same members; admitting is idempotent by identity.
//! Must not know: how entries are appended or sent.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use starling_log::{Control, Origin};

use super::quorum::{Change, Epoch, Seat, Version, Voter};

pub const ADMIT: &str = "admit";
pub const REORIGIN: &str = "reorigin";

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

/// What a node that wants in says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applicant {
    pub identity: Id,
    pub incarnation: Id,
    pub name: String,
    pub addr: String,
    #[serde(default)]
    pub mysql_addr: String,
    /// Its origins so far have lost entries: it needs new ones.
    #[serde(default)]
    pub lost: Option<[Origin; 2]>,
}

/// What the founder does about an applicant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Nothing to append: it is in already, as this.
    Known(Box<Member>),
    Admit(Box<Member>),
    Reorigin(Box<Reorigin>),
    Refused(String),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    list: BTreeMap<u32, Member>,
    next_member: u32,
    /// Wider than an origin, so that running out is seen.
    next_origin: u32,
    /// The newest set of voters; `None`: the founder alone, as ever since.
    epoch: Option<Epoch>,
    /// Voters that were in an epoch and are in no more.
    gone: BTreeSet<Voter>,
    /// Final numbers of origins that no longer count.
    fences: BTreeMap<Origin, u64>,
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

impl Members {
    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.list.values()
    }
    pub fn len(&self) -> usize {
        self.list.len()
    }
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
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
    /// The only one that admits and takes DDL until quorums do.
    pub fn founder(&self) -> Option<&Member> {
        self.list.get(&1)
    }

    /// Folds one control entry in; kinds of others are none of its business. `false`: nothing changed.
    pub fn fold(&mut self, control: &Control) -> Result<bool, serde_json::Error> {
        match control.kind.as_str() {
            ADMIT => {
                let member: Member = serde_json::from_slice(&control.payload)?;
                self.used(member.member, member.origins.iter().chain(&member.closed));
                Ok(self.list.insert(member.member, member).is_none())
            }
            REORIGIN => {
                let change: Reorigin = serde_json::from_slice(&control.payload)?;
                self.used(change.member, change.origins.iter().chain(&change.closed));
                let Some(member) = self.list.get_mut(&change.member) else {
                    return Ok(false);
                };
                member.closed.extend(change.closed);
                member.origins = change.origins;
                member.incarnation = change.incarnation;
                Ok(true)
            }
            _ => Ok(false),
        }
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
        self.epoch = Some(epoch);
    }
    /// Who votes now.
    pub fn epoch(&self) -> Epoch {
        match (&self.epoch, self.founder()) {
            (Some(epoch), _) => epoch.clone(),
            (None, Some(founder)) => Epoch::new(1, vec![founder.seat()], Version::default()),
            (None, None) => Epoch::default(),
        }
    }
    /// May it (still) become a voter?
    pub fn takes_part(&self, member: &Member) -> bool {
        !self.gone.contains(&member.origins[1])
    }
    pub fn fences(&self) -> &BTreeMap<Origin, u64> {
        &self.fences
    }

    /// Numbers seen anywhere are never given out again.
    pub fn used<'a>(&mut self, member: u32, origins: impl Iterator<Item = &'a Origin>) {
        self.next_member = self.next_member.max(member.saturating_add(1));
        for origin in origins {
            self.next_origin = self.next_origin.max(u32::from(*origin) + 1);
        }
    }

    /// The founder's own admission: the first entry of a cluster.
    pub fn found(applicant: &Applicant) -> Member {
        member_of(applicant, 1, [1, 2])
    }

    pub fn decide(&self, applicant: &Applicant) -> Admission {
        let origins = self.new_origins();
        match (self.by_identity(applicant.identity), applicant.lost) {
            (Some(member), None) => Admission::Known(Box::new(member.clone())),
            // Asked again after the answer was lost: the same incarnation gets the same origins.
            (Some(member), Some(_)) if member.incarnation == applicant.incarnation => Admission::Known(Box::new(member.clone())),
            (_, _) if origins.is_none() => Admission::Refused("all origin numbers are used up".to_owned()),
            (Some(member), Some(_)) => Admission::Reorigin(Box::new(Reorigin {
                member: member.member,
                identity: member.identity,
                origins: origins.unwrap_or_default(),
                incarnation: applicant.incarnation,
                closed: member.origins,
            })),
            (None, _) => Admission::Admit(Box::new(member_of(applicant, self.next_member.max(1), origins.unwrap_or_default()))),
        }
    }

    fn new_origins(&self) -> Option<[Origin; 2]> {
        let first = self.next_origin.max(1);
        Some([Origin::try_from(first).ok()?, Origin::try_from(first + 1).ok()?])
    }
}

fn member_of(applicant: &Applicant, member: u32, origins: [Origin; 2]) -> Member {
    Member {
        member,
        identity: applicant.identity,
        name: applicant.name.clone(),
        addr: applicant.addr.clone(),
        mysql_addr: applicant.mysql_addr.clone(),
        origins,
        incarnation: applicant.incarnation,
        closed: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applicant(n: u128) -> Applicant {
        Applicant {
            identity: Id(n),
            incarnation: Id(n * 100),
            name: format!("n{n}"),
            addr: format!("127.0.0.1:{n}"),
            mysql_addr: String::new(),
            lost: None,
        }
    }

    fn control(kind: &str, payload: &impl Serialize) -> Control {
        Control {
            kind: kind.to_owned(),
            payload: serde_json::to_vec(payload).unwrap(),
        }
    }

    fn founded() -> Members {
        let mut members = Members::default();
        assert!(members.fold(&control(ADMIT, &Members::found(&applicant(1)))).unwrap());
        members
    }

    fn admit(members: &mut Members, applicant: &Applicant) -> Member {
        match members.decide(applicant) {
            Admission::Admit(member) => {
                members.fold(&control(ADMIT, &*member)).unwrap();
                *member
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_member_gets_numbers_of_its_own() {
        let mut members = founded();
        let (two, three) = (admit(&mut members, &applicant(2)), admit(&mut members, &applicant(3)));
        assert_eq!((two.member, two.origins), (2, [3, 4]));
        assert_eq!((three.member, three.origins), (3, [5, 6]));
        assert_eq!(members.founder().unwrap().identity, Id(1));
        assert_eq!(members.by_origin(4).unwrap().member, 2);
    }

    #[test]
    fn admission_is_idempotent_by_identity() {
        let mut members = founded();
        let two = admit(&mut members, &applicant(2));
        assert_eq!(members.decide(&applicant(2)), Admission::Known(Box::new(two.clone())));
        assert!(!members.fold(&control(ADMIT, &two)).unwrap());
        assert_eq!(members.len(), 2);
    }

    #[test]
    fn a_lost_log_comes_back_under_new_origins_once_per_incarnation() {
        let mut members = founded();
        admit(&mut members, &applicant(2));
        let mut lost = applicant(2);
        lost.incarnation = Id(777);
        lost.lost = Some([3, 4]);
        let Admission::Reorigin(change) = members.decide(&lost) else {
            panic!("reorigin expected")
        };
        assert_eq!((change.origins, change.closed), ([5, 6], [3, 4]));
        members.fold(&control(REORIGIN, &*change)).unwrap();
        // The answer got lost: the same question has the same answer.
        assert!(matches!(members.decide(&lost), Admission::Known(m) if m.origins == [5, 6]));
        // Restored once more from the same old backup: an incarnation of its own.
        lost.incarnation = Id(778);
        assert!(matches!(members.decide(&lost), Admission::Reorigin(r) if r.origins == [7, 8]));
        assert_eq!(members.by_origin(3).unwrap().member, 2);
    }

    #[test]
    fn origins_run_out_with_a_word() {
        let mut members = founded();
        members.used(1, [u16::MAX].iter());
        assert!(matches!(members.decide(&applicant(2)), Admission::Refused(_)));
    }

    #[test]
    fn identities_are_32_digits() {
        let id = Id(0xabc);
        assert_eq!(id.to_string().parse::<Id>(), Ok(id));
        assert!("abc".parse::<Id>().is_err());
        assert_eq!(serde_json::from_str::<Id>(&serde_json::to_string(&id).unwrap()).unwrap(), id);
    }
}
