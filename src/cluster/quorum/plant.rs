//! Mistakes on purpose: each leaves out a rule of PROTOCOL.md, so that tests can show that they would be found.
//!
//! Nothing but tests sets one; a node without one pays a comparison.

/// A rule to leave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Plant {
    /// 2: votes after a start without asking what others remember.
    NoAmnesiaCheck,
    /// 4: sends a prepare before its place is durably reserved.
    ReservationNotDurable,
    /// 4: takes what it reserved before a restart as void, without a ballot.
    ReservedAreVoid,
    /// 6: votes without holding the causes.
    NoCauses,
    /// 6: does not look at what other prepared transactions hold.
    NoConflicts,
    /// 6: does not look at versions.
    NoVersions,
    /// 6: sends votes before they are durable.
    VoteNotDurable,
    /// 6: judges again when a prepare comes again.
    VoteNotBinding,
    /// 6: votes although row stamps above the transaction's stable stamp are gone.
    DroppedIgnored,
    /// 6, 15: votes for stamps at or below its floor.
    FloorIgnored,
    /// 6: references leave no mark.
    NoMark,
    /// 7: takes a quorum's yes for a decision.
    QuorumYesDecides,
    /// 7: sends accepts before they are durable.
    AcceptNotDurable,
    /// 7: appends entries of an origin as they are decided.
    AnyPlaceOrder,
    /// 8: aborts alone when a member is silent.
    AbortAlone,
    /// 9: a promise does not bind ballot 0.
    PromiseLeavesZero,
    /// 9: a promise does not stop a later vote.
    VoteAfterPromise,
    /// 9: sends promises before they are durable.
    PromiseNotDurable,
    /// 9: uses a ballot before it is durably its own.
    BallotNotDurable,
    /// 9: takes the accepted outcome of the lowest ballot.
    LowestBallot,
    /// 9: a ballot's outcome does not look at accepts.
    AcceptsIgnored,
    /// 9: unanimous yes of a quorum is aborted all the same.
    YesIgnored,
    /// 9: acts on a ballot's outcome before a quorum has accepted it.
    ActBeforeAccepted,
    /// 9: asks the newest epoch's members instead of the transaction's own.
    NewestEpoch,
    /// 9: promises for places that stand in its log.
    PromiseSettled,
    /// 10: clears pending records before the log is durable.
    ClearEarly,
    /// 10: forgets decided versions before they are applied.
    ForgetDecided,
    /// 10: votes after a start before its log is applied.
    VoteUnapplied,
    /// 15: its floor passes its own open places and votes.
    FloorPassesOpen,
    /// 16: counts floors that its own applied vector does not cover.
    StableUncovered,
    /// 17: votes in a new epoch while it holds what is open of the old one.
    NoResolve,
    /// 17: changes epochs without words.
    NoWords,
    /// 18: votes for a fence below what it holds.
    FenceTooLow,
    /// 18: takes entries beyond a fence.
    FenceIgnored,
    /// 21: a schema change does not look whether it has seen all rows that it rests on.
    UnseenIgnored,
}

impl Plant {
    pub const ALL: &[Plant] = &[
        Plant::NoAmnesiaCheck,
        Plant::ReservationNotDurable,
        Plant::ReservedAreVoid,
        Plant::NoCauses,
        Plant::NoConflicts,
        Plant::NoVersions,
        Plant::VoteNotDurable,
        Plant::VoteNotBinding,
        Plant::DroppedIgnored,
        Plant::FloorIgnored,
        Plant::NoMark,
        Plant::QuorumYesDecides,
        Plant::AcceptNotDurable,
        Plant::AnyPlaceOrder,
        Plant::AbortAlone,
        Plant::PromiseLeavesZero,
        Plant::VoteAfterPromise,
        Plant::PromiseNotDurable,
        Plant::BallotNotDurable,
        Plant::LowestBallot,
        Plant::AcceptsIgnored,
        Plant::YesIgnored,
        Plant::ActBeforeAccepted,
        Plant::NewestEpoch,
        Plant::PromiseSettled,
        Plant::ClearEarly,
        Plant::ForgetDecided,
        Plant::VoteUnapplied,
        Plant::FloorPassesOpen,
        Plant::StableUncovered,
        Plant::NoResolve,
        Plant::NoWords,
        Plant::FenceTooLow,
        Plant::FenceIgnored,
        Plant::UnseenIgnored,
    ];
}
