//! Random stories against a simple model of what must hold.

use proptest::prelude::*;

use super::*;
use crate::feedback::{Execution, Outcome};

#[derive(Debug, Clone)]
enum Step {
    Tell(u8, Execution),
    Send,
    Taken,
    Lost,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let execution = prop_oneof![
        6 => (0..=100_u8).prop_map(|percent| Execution::Proceeding { percent: Some(percent) }),
        1 => Just(Execution::Scheduled),
        1 => Just(Execution::Downloaded),
        1 => Just(Execution::Closed(Outcome::Success)),
        1 => Just(Execution::Closed(Outcome::Failure)),
        1 => Just(Execution::Canceled),
    ];
    prop_oneof![
        6 => (0..120_u8, execution).prop_map(|(action, execution)| Step::Tell(action, execution)),
        2 => Just(Step::Send),
        2 => Just(Step::Taken),
        1 => Just(Step::Lost),
        1 => Just(Step::Restart),
    ]
}

pub(crate) fn message(action: u8, execution: Execution) -> Message {
    let action = ActionId::try_from(action.to_string()).unwrap();
    Message::Feedback { action, feedback: Feedback::new(execution, ["x"]) }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Every final result is told exactly once, all is told in order, the rest is bounded, and a restart changes nothing.
    #[test]
    fn finals_once_in_order_bounded(steps in prop::collection::vec(step(), 1..400)) {
        let (mut state, mut journal) = (State::default(), vec![]);
        let mut note = |state: &mut State, record: Record| {
            journal.push(record.clone());
            state.apply(record);
            journal.clone()
        };
        let mut records = vec![];
        let (mut owed, mut told): (Vec<Message>, Vec<(u64, Message)>) = (vec![], vec![]);
        let mut ended = vec![];
        for step in steps {
            match step {
                Step::Tell(action, execution) => {
                    let message = message(action, execution);
                    match state.plan(message.clone()) {
                        Ok(record) => {
                            prop_assert!(!ended.contains(&message.subject()));
                            if message.is_final() {
                                owed.push(message.clone());
                                ended.push(message.subject());
                            }
                            records = note(&mut state, record);
                        }
                        Err(refused) => prop_assert!(!message.is_final() || refused == Queued::Ended),
                    }
                }
                Step::Send => if let Some(seq) = state.front(&[]).map(|waiting| waiting.seq) {
                    records = note(&mut state, Record::Sending(seq));
                },
                Step::Taken => if let Some(waiting) = state.front(&[]).cloned() {
                    told.push((waiting.seq, waiting.message));
                    records = note(&mut state, Record::Done(waiting.seq));
                },
                Step::Lost => if let Some(seq) = state.front(&[]).map(|waiting| waiting.seq) {
                    state.set_unsure(seq, false);
                },
                Step::Restart => {
                    let mut again = State::default();
                    records.iter().cloned().for_each(|record| again.apply(record));
                    let messages = |state: &State| state.waiting().map(|w| (w.seq, w.message.clone())).collect::<Vec<_>>();
                    prop_assert_eq!(messages(&again), messages(&state));
                    let mut compacted = State::default();
                    compacted.apply(Record::State(again.clone()));
                    prop_assert_eq!(&compacted, &again);
                    state = again;
                }
            }
            let others = state.waiting().filter(|waiting| !waiting.message.is_final()).count();
            prop_assert!(others <= MAX_WAITING, "{} wait", others);
            // The ends of 120 actions don't all fit; those that wait do.
            ended.retain(|subject| state.ended.contains(subject));
        }
        told.extend(state.waiting().map(|waiting| (waiting.seq, waiting.message.clone())));
        prop_assert!(told.is_sorted_by(|one, other| one.0 < other.0));
        let finals: Vec<Message> = told.into_iter().map(|(_, message)| message).filter(Message::is_final).collect();
        prop_assert_eq!(finals, owed);
    }
}

#[test]
fn progress_is_replaced_unless_it_may_be_on_its_way() {
    let mut state = State::default();
    let tell = |state: &mut State, percent| {
        state.apply(state.plan(message(1, Execution::Proceeding { percent: Some(percent) })).unwrap());
    };
    tell(&mut state, 1);
    tell(&mut state, 2);
    assert_eq!(state.waiting().map(|waiting| waiting.seq).collect::<Vec<_>>(), [1]);
    state.apply(Record::Sending(1));
    tell(&mut state, 3);
    tell(&mut state, 4);
    assert_eq!(state.waiting().map(|waiting| waiting.seq).collect::<Vec<_>>(), [1, 3]);
}

#[test]
fn a_full_outbox_turns_away_progress_and_no_result() {
    let mut state = State::default();
    for action in 0..80 {
        state.apply(state.plan(message(action, Execution::Closed(Outcome::Failure))).unwrap());
    }
    assert_eq!(state.waiting().count(), 80);
    assert_eq!(state.plan(message(90, Execution::Downloaded)), Err(Queued::Full));
}

#[test]
fn a_server_that_starts_anew_is_told_anew() {
    let mut state = State::default();
    let close = || message(1, Execution::Closed(Outcome::Success));
    state.apply(state.plan(close()).unwrap());
    // Not while the old result waits: the server offers the action because it has not heard.
    assert_eq!(state.plan_begin(close().subject()), None);
    state.apply(Record::Done(0));
    assert_eq!(state.plan(close()), Err(Queued::Ended));
    state.apply(state.plan_begin(close().subject()).unwrap());
    assert!(state.plan(close()).is_ok());
}

/// Bytes of the journal's records: what is in the field must stay readable.
#[test]
fn records_keep_their_bytes() {
    let bytes = |record: &Record| hex::encode(postcard::to_stdvec(record).unwrap());
    let queued = State::default().plan(message(7, Execution::Proceeding { percent: Some(40) })).unwrap();
    assert_eq!(bytes(&queued), "0100013703012801017800000".to_owned() + "0");
    assert_eq!(bytes(&Record::Sending(300)), "02ac02");
    assert_eq!(bytes(&Record::Done(1)), "0301");
    assert_eq!(bytes(&Record::Begun(Subject::Cancel(ActionId::try_from("7".to_owned()).unwrap()))), "04010137");
}
