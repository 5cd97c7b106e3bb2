//! What is to be done about nodes: letting in, removing, allowing. Pure decisions; the entries they lead to are
//! proposed by [`super::admit`] and folded by [`super::members`].
//!
//! Promises: admitting is idempotent by identity and incarnation; a node that was removed is refused until it is allowed, and comes
//! back only without entries that were fenced off; the founder is not removed while it alone decides. Must not know: entries, sockets.

use serde::{Deserialize, Serialize};
use starling_log::Origin;

use super::gossip::Health;
use super::members::{Allow, Ban, Id, Member, Members, Remove, Reorigin, Standing};

/// What a node that wants in says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applicant {
    pub identity: Id,
    pub incarnation: Id,
    pub name: String,
    pub addr: String,
    #[serde(default)]
    pub mysql_addr: String,
    /// Its origins so far have lost entries, or were closed by others: it needs new ones.
    #[serde(default)]
    pub lost: Option<[Origin; 2]>,
    /// What it holds of its origins so far.
    #[serde(default)]
    pub held: Vec<(Origin, u64)>,
}

/// What is done about an applicant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Nothing to append: it is in already, as this.
    Known(Box<Member>),
    Admit(Box<Member>),
    Reorigin(Box<Reorigin>),
    /// It takes the seat of this one, which goes first.
    Replace(Box<Remove>),
    Refused(String),
    /// It was removed, and is not allowed back (yet).
    Removed(String),
    /// Whether it takes another's seat is not known yet.
    Later(String),
}

/// How a member seems to be, when that is known.
pub type Sight<'a> = &'a dyn Fn(Id) -> Option<Health>;

impl Members {
    /// The founder's own admission: the first entry of a cluster.
    pub fn found(applicant: &Applicant) -> Member {
        member_of(applicant, 1, [1, 2])
    }

    pub fn decide(&self, applicant: &Applicant, sight: Sight<'_>) -> Admission {
        let Some(origins) = self.new_origins() else {
            return Admission::Refused("all origin numbers are used up".to_owned());
        };
        match self.by_identity(applicant.identity) {
            Some(member) => self.decide_known(member, applicant, origins),
            None => match self.seat_of(&applicant.name, sight) {
                Some((_, None | Some(Health::Suspect))) => Admission::Later(format!(
                    "a member is called '{}' already; waiting to see whether it is dead",
                    applicant.name
                )),
                Some((dead, Some(Health::Down))) => Admission::Replace(Box::new(removal(dead))),
                _ => Admission::Admit(Box::new(member_of(applicant, self.new_member(), origins))),
            },
        }
    }

    fn decide_known(&self, member: &Member, applicant: &Applicant, origins: [Origin; 2]) -> Admission {
        let standing = self.standing(member);
        if matches!(standing, Standing::Removed | Standing::Leaving) {
            return Admission::Removed(format!(
                "this node was removed from the cluster; 'starling members allow {}' on a member lets it in again",
                member.member
            ));
        }
        // Asked again after the answer was lost: the same incarnation gets the same origins.
        if applicant.lost.is_none() || member.incarnation == applicant.incarnation {
            return Admission::Known(Box::new(member.clone()));
        }
        let beyond = applicant
            .held
            .iter()
            .find(|(origin, held)| self.fence(*origin).is_some_and(|last| *held > last));
        if let Some((origin, held)) = beyond {
            return Admission::Refused(format!(
                "this node has {held} entries of origin {origin}, of which the cluster counts {}: it went on after it was removed; \
                 start it with an empty data directory",
                self.fence(*origin).unwrap_or_default()
            ));
        }
        Admission::Reorigin(Box::new(Reorigin {
            member: member.member,
            identity: member.identity,
            origins,
            incarnation: applicant.incarnation,
            closed: member.origins,
        }))
    }

    /// The seat that a newcomer of this name would take: its present holder, and how that seems to be.
    fn seat_of(&self, name: &str, sight: Sight<'_>) -> Option<(&Member, Option<Health>)> {
        let there = |m: &&Member| m.name == name && m.member != 1 && m.ban == Ban::No;
        self.iter().find(there).map(|m| (m, sight(m.identity)))
    }

    /// `Ok(None)`: it is done already. `Err(why not)`.
    pub fn decide_removal(&self, member: &Member) -> Result<Option<Remove>, String> {
        match member.ban {
            Ban::Removed => Ok(None),
            _ if member.member == 1 => Err("the founding node cannot be removed: in this version it admits nodes".to_owned()),
            _ => Ok(Some(removal(member))),
        }
    }

    /// `None`: it needs no permission.
    pub fn decide_allowance(&self, member: &Member) -> Option<Allow> {
        (member.ban == Ban::Removed).then_some(Allow {
            member: member.member,
            identity: member.identity,
        })
    }
}

fn removal(member: &Member) -> Remove {
    Remove {
        member: member.member,
        identity: member.identity,
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
        ban: Ban::No,
    }
}

#[cfg(test)]
mod tests {
    use super::super::members::{ADMIT, ALLOW, REMOVE, REORIGIN};
    use super::super::quorum::{Change, Epoch, Version};
    use super::*;
    use starling_log::Control;

    fn applicant(n: u128) -> Applicant {
        Applicant {
            identity: Id(n),
            incarnation: Id(n * 100),
            name: format!("n{n}"),
            addr: format!("127.0.0.1:{n}"),
            mysql_addr: String::new(),
            lost: None,
            held: Vec::new(),
        }
    }

    fn fold(members: &mut Members, kind: &str, payload: &impl Serialize) -> bool {
        let control = Control {
            kind: kind.to_owned(),
            payload: serde_json::to_vec(payload).unwrap(),
        };
        members.fold(&control).unwrap()
    }

    fn founded() -> Members {
        let mut members = Members::default();
        assert!(fold(&mut members, ADMIT, &Members::found(&applicant(1))));
        members
    }

    fn decide(members: &Members, applicant: &Applicant) -> Admission {
        members.decide(applicant, &|_| Some(Health::Up))
    }

    fn admit(members: &mut Members, applicant: &Applicant) -> Member {
        match decide(members, applicant) {
            Admission::Admit(member) => {
                fold(members, ADMIT, &*member);
                *member
            }
            other => panic!("{other:?}"),
        }
    }

    /// What a quorum decides next: these members have seats.
    fn seat(members: &mut Members, numbers: &[u32], fences: &[(Origin, u64)]) {
        let seats = numbers.iter().map(|n| members.get(*n).unwrap().seat()).collect();
        let epoch = Epoch::new(members.epoch().number + 1, seats, Version::default());
        members.change(Change {
            epoch: Some(epoch),
            fences: fences.to_vec(),
        });
    }

    /// One to three, all with a vote.
    fn three() -> Members {
        let mut members = founded();
        for n in [2, 3] {
            admit(&mut members, &applicant(n));
        }
        seat(&mut members, &[1, 2], &[]);
        seat(&mut members, &[1, 2, 3], &[]);
        members
    }

    fn standing(members: &Members, number: u32) -> Standing {
        members.standing(members.get(number).unwrap())
    }

    #[test]
    fn each_node_gets_numbers_of_its_own() {
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
        assert_eq!(decide(&members, &applicant(2)), Admission::Known(Box::new(two.clone())));
        assert!(!fold(&mut members, ADMIT, &two));
        assert_eq!(members.len(), 2);
    }

    #[test]
    fn who_joins_is_a_member_when_an_epoch_gives_it_a_seat() {
        let mut members = founded();
        assert_eq!((members.epoch().number, standing(&members, 1)), (1, Standing::Member));
        admit(&mut members, &applicant(2));
        assert_eq!(standing(&members, 2), Standing::Joining);
        seat(&mut members, &[1, 2], &[]);
        assert_eq!((members.epoch().number, standing(&members, 2)), (2, Standing::Member));
        assert_eq!(members.config(2).unwrap().voters().collect::<Vec<_>>(), [2, 4]);
        let old = members.config(2).unwrap().clone();
        members.change(Change {
            epoch: Some(old),
            fences: Vec::new(),
        });
        assert_eq!(members.epoch().number, 2, "once");
    }

    #[test]
    fn who_is_to_go_votes_until_its_seat_is_taken() {
        let mut members = three();
        let remove = members.decide_removal(members.get(2).unwrap()).unwrap().unwrap();
        assert!(fold(&mut members, REMOVE, &remove) && !fold(&mut members, REMOVE, &remove));
        assert_eq!((standing(&members, 2), members.is_removed(Id(2))), (Standing::Leaving, false));
        assert!(!members.takes_part(members.get(2).unwrap()));
        seat(&mut members, &[1, 3], &[(3, 7), (4, 9)]);
        assert_eq!((standing(&members, 2), members.is_removed(Id(2))), (Standing::Removed, true));
        assert_eq!((members.fence(3), members.fence(4), members.fence(5)), (Some(7), Some(9), None));
        assert_eq!(members.voters().len(), 2);
    }

    #[test]
    fn allowing_in_time_undoes_removing() {
        let mut members = three();
        let remove = members.decide_removal(members.get(2).unwrap()).unwrap().unwrap();
        fold(&mut members, REMOVE, &remove);
        let allow = members.decide_allowance(members.get(2).unwrap()).unwrap();
        fold(&mut members, ALLOW, &allow);
        assert_eq!(standing(&members, 2), Standing::Member);
        seat(&mut members, &[1, 3], &[]);
        assert_eq!(standing(&members, 2), Standing::Allowed, "its removal was under way");
        assert!(!members.takes_part(members.get(2).unwrap()), "not as the voter that it was");
    }

    #[test]
    fn who_was_removed_comes_back_when_allowed_and_without_more_than_was_counted() {
        let mut members = three();
        let remove = members.decide_removal(members.get(2).unwrap()).unwrap().unwrap();
        fold(&mut members, REMOVE, &remove);
        seat(&mut members, &[1, 3], &[(3, 7), (4, 0)]);
        let mut back = applicant(2);
        back.lost = Some([3, 4]);
        back.incarnation = Id(222);
        back.held = vec![(3, 7), (4, 0)];
        assert!(matches!(decide(&members, &back), Admission::Removed(why) if why.contains("allow 2")));
        let allow = members.decide_allowance(members.get(2).unwrap()).unwrap();
        assert!(fold(&mut members, ALLOW, &allow) && !fold(&mut members, ALLOW, &allow));
        let more = Applicant {
            held: vec![(3, 8)],
            ..back.clone()
        };
        assert!(matches!(decide(&members, &more), Admission::Refused(why) if why.contains("empty data directory")));
        let Admission::Reorigin(change) = decide(&members, &back) else {
            panic!("new origins")
        };
        assert_eq!((change.origins, change.closed), ([7, 8], [3, 4]));
        fold(&mut members, REORIGIN, &*change);
        assert_eq!(standing(&members, 2), Standing::Joining);
        assert!(members.takes_part(members.get(2).unwrap()));
        seat(&mut members, &[1, 2, 3], &[]);
        assert_eq!(members.epoch().voters().collect::<Vec<_>>(), [2, 6, 8]);
        assert_eq!(members.fence(3), Some(7), "what was closed stays closed");
    }

    #[test]
    fn a_lost_log_comes_back_under_new_origins_once_per_incarnation() {
        let mut members = three();
        let mut lost = applicant(2);
        lost.incarnation = Id(777);
        lost.lost = Some([3, 4]);
        let Admission::Reorigin(change) = decide(&members, &lost) else {
            panic!("reorigin expected")
        };
        assert_eq!((change.origins, change.closed), ([7, 8], [3, 4]));
        fold(&mut members, REORIGIN, &*change);
        assert_eq!(standing(&members, 2), Standing::Joining, "another voter than before");
        // The answer got lost: the same question has the same answer.
        assert!(matches!(decide(&members, &lost), Admission::Known(m) if m.origins == [7, 8]));
        // Restored once more from the same old backup: an incarnation of its own.
        lost.incarnation = Id(778);
        assert!(matches!(decide(&members, &lost), Admission::Reorigin(r) if r.origins == [9, 10]));
        assert_eq!(members.by_origin(3).unwrap().member, 2);
    }

    #[test]
    fn a_founder_alone_keeps_its_seat_under_new_origins() {
        let mut members = founded();
        let change = Reorigin {
            member: 1,
            identity: Id(1),
            origins: [3, 4],
            incarnation: Id(9),
            closed: [1, 2],
        };
        fold(&mut members, REORIGIN, &change);
        assert_eq!(
            (standing(&members, 1), members.epoch().voters().collect::<Vec<_>>()),
            (Standing::Member, vec![4])
        );
    }

    #[test]
    fn a_newcomer_takes_the_seat_of_the_dead_and_of_nobody_else() {
        let members = three();
        let newcomer = Applicant {
            name: "n2".to_owned(),
            ..applicant(9)
        };
        let seen = |health| members.decide(&newcomer, &move |_| health);
        assert!(matches!(seen(Some(Health::Up)), Admission::Admit(m) if m.member == 4));
        assert!(matches!(seen(Some(Health::Suspect)), Admission::Later(_)));
        assert!(matches!(seen(None), Admission::Later(_)));
        let Admission::Replace(remove) = seen(Some(Health::Down)) else {
            panic!("replace expected")
        };
        assert_eq!(remove.member, 2);
        let mut members = members;
        fold(&mut members, REMOVE, &*remove);
        assert!(matches!(members.decide(&newcomer, &|_| Some(Health::Down)), Admission::Admit(_)));
        let founder = Applicant {
            name: "n1".to_owned(),
            ..applicant(9)
        };
        assert!(matches!(members.decide(&founder, &|_| Some(Health::Down)), Admission::Admit(_)));
    }

    #[test]
    fn the_founder_stays() {
        let members = three();
        assert!(members.decide_removal(members.get(1).unwrap()).is_err());
    }

    #[test]
    fn members_are_found_by_number_name_and_identity() {
        let members = three();
        for text in ["2", "n2", &Id(2).to_string()] {
            assert_eq!(members.find(text).unwrap().member, 2, "{text}");
        }
        assert!(members.find("7").is_none() && members.find("").is_none());
    }

    #[test]
    fn origins_run_out_with_a_word() {
        let mut members = founded();
        members.used(1, [u16::MAX].iter());
        assert!(matches!(decide(&members, &applicant(2)), Admission::Refused(_)));
    }

    #[test]
    fn entries_of_older_programs_are_understood() {
        let mut members = founded();
        let mut old = serde_json::to_value(Members::found(&applicant(2))).unwrap();
        old["member"] = 2.into();
        old["origins"] = serde_json::json!([3, 4]);
        old.as_object_mut().unwrap().remove("ban");
        assert!(fold(&mut members, ADMIT, &old));
        assert_eq!(standing(&members, 2), Standing::Joining);
    }
}
