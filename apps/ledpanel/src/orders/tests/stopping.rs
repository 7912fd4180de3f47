//! A take comes to an end when it was meant to, and only that take.

use super::*;

#[test]
fn a_stop_is_kept_and_a_start_after_it_waits_for_it() {
    let mut panel = Panel::recording("/a");
    panel.silent();
    panel.long();
    assert_eq!(panel.calls(), [stop("/a")]);
    panel.answer(Answer::Unreachable);
    panel.short();
    panel.short();
    assert_eq!(panel.calls(), []);
    panel.wait(250);
    assert_eq!(panel.calls(), [stop("/a")]);
    panel.wait(2000);
    panel.answer(done(None));
    panel.token();
    panel.answer(done(Some("/b")));
    assert_eq!((panel.told(), panel.orders.waiting()), (vec![], 0));
}

#[test]
fn a_stop_that_nobody_hears_is_told_to_be_lost() {
    let mut panel = Panel::recording("/a");
    panel.long();
    // In time or not, an answer is waited for: files may take long to close.
    panel.wait(20_000);
    assert_eq!((panel.calls(), panel.told()), (vec![stop("/a")], vec![]));
    panel.answer(Answer::Unreachable);
    assert_eq!(panel.told(), [Command::Refuse(Why::Lost(Wish::Stop))]);
}

#[test]
fn holding_again_keeps_a_stop_for_longer() {
    let mut panel = Panel::recording("/a");
    panel.silent();
    panel.long();
    panel.answer(Answer::Unreachable);
    panel.wait(200);
    for _ in 0..19 {
        panel.wait(250);
        panel.answer(Answer::Unreachable);
    }
    panel.long();
    panel.wait(250);
    panel.calls();
    panel.answer(Answer::Unreachable);
    panel.wait(1000);
    assert_eq!((panel.calls(), panel.told()), (vec![stop("/a")], vec![]));
}

#[test]
fn a_late_stop_does_not_end_the_next_take() {
    let mut panel = Panel::recording("/a");
    panel.silent();
    panel.long();
    panel.answer(Answer::Unreachable);
    panel.wait(100);
    panel.calls();
    panel.known(State::Recording, Some("/b"));
    assert_eq!(panel.calls(), [stop("/a")]);
    panel.answer(refused(ErrorCode::NotRecording));
    panel.wait(10_000);
    panel.known(State::Recording, Some("/b"));
    assert_eq!((panel.calls(), panel.told()), (vec![], vec![]));
}

#[test]
fn what_is_starting_can_be_stopped() {
    // Seen, with its session.
    let mut panel = Panel::new();
    panel.known(State::Starting, Some("/a"));
    panel.long();
    assert_eq!(panel.calls(), [stop("/a")]);

    // Our own, not answered yet.
    let mut panel = Panel::idle();
    panel.short();
    panel.token();
    panel.long();
    assert_eq!(panel.calls(), []);
    panel.wait(6000);
    assert_eq!(panel.told(), [Command::Refuse(Why::Lost(Wish::Start))]);
    panel.answer(done(Some("/a")));
    assert_eq!(panel.calls(), [stop("/a")], "a late one too");
    panel.answer(done(None));

    // It turns out to be somebody else's; what is seen is stopped.
    panel.known(State::Idle, None);
    panel.short();
    panel.token();
    panel.long();
    panel.answer(refused(ErrorCode::AlreadyRecording));
    panel.wait(100);
    panel.known(State::Recording, Some("/c"));
    assert_eq!(panel.calls(), [stop("/c")]);
}

#[test]
fn a_start_that_was_refused_leaves_nothing_to_stop() {
    let mut panel = Panel::idle();
    panel.short();
    panel.long();
    panel.answer(refused(ErrorCode::StorageLow));
    assert_eq!((panel.told().len(), panel.orders.waiting()), (1, 0));
}

#[test]
fn a_start_that_was_not_sent_yet_is_taken_back_by_a_hold() {
    let mut panel = Panel::recording("/a");
    panel.long();
    panel.short();
    panel.long();
    assert_eq!(panel.calls(), [stop("/a")]);
    panel.answer(done(None));
    assert_eq!((panel.calls(), panel.told(), panel.orders.waiting()), (vec![], vec![], 0));
}

#[test]
fn a_hold_without_news_stops_what_then_turns_out_to_be_recorded() {
    let mut panel = Panel::new();
    panel.long();
    panel.wait(2000);
    assert_eq!(panel.calls(), []);
    panel.known(State::Recording, Some("/a"));
    assert_eq!(panel.calls(), [stop("/a")]);

    let mut panel = Panel::new();
    panel.long();
    panel.wait(2000);
    panel.known(State::Idle, None);
    assert_eq!(panel.told(), [Command::Refuse(Why::NothingRecording)]);

    let mut panel = Panel::new();
    panel.long();
    panel.wait(5000);
    assert_eq!(panel.told(), [Command::Refuse(Why::Lost(Wish::Stop))]);
}

#[test]
fn right_after_a_stop_a_press_starts_though_the_news_are_late() {
    let mut panel = Panel::recording("/a");
    panel.long();
    panel.answer(done(None));
    panel.calls();
    panel.known(State::Recording, Some("/a"));
    panel.short();
    panel.token();
}

#[test]
fn a_session_that_goes_on_after_all_is_stopped_after_all() {
    let mut panel = Panel::recording("/a");
    panel.long();
    panel.calls();
    // A recorder that looks through its storage records nothing yet.
    panel.answer(refused(ErrorCode::NotRecording));
    panel.known(State::Idle, None);
    panel.wait(1000);
    panel.known(State::Recording, Some("/a"));
    assert_eq!(panel.calls(), [stop("/a")]);
    panel.answer(done(None));
    assert_eq!(panel.told(), []);
}

#[test]
fn what_is_seen_is_stopped_though_a_start_is_on_its_way() {
    let mut panel = Panel::idle();
    panel.short();
    panel.token();
    panel.known(State::Recording, Some("/other"));
    panel.long();
    assert_eq!(panel.calls(), [stop("/other")]);
    panel.answer(done(None));
    assert_eq!((panel.told(), panel.orders.waiting()), (vec![], 2), "ours is to be stopped too, once it is known");
}

#[test]
fn a_start_that_is_lost_takes_its_stop_with_it() {
    let mut panel = Panel::new();
    panel.short();
    panel.answer(Answer::Unreachable);
    panel.long();
    panel.wait(5000);
    panel.answer(Answer::Unreachable);
    let lost = [Wish::Start, Wish::Stop].map(|wish| Command::Refuse(Why::Lost(wish)));
    assert_eq!((panel.told(), panel.orders.waiting()), (lost.to_vec(), 0));
    panel.calls();
    panel.known(State::Recording, Some("/other"));
    assert_eq!(panel.calls(), [], "not for somebody else's take");
}
