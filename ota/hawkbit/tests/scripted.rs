//! Against servers that answer what a test writes down: what a well-behaved hawkBit never does, or only a newer one.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdfast_hawkbit::{
    ActionId, ActionRef, Client, Confirmation, Delivery, Error, Execution, Feedback, MaintenanceWindow, Outbox,
    Outcome, Settings, Token, deliver,
};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

const SECRET: &str = "a-token-nobody-must-see";

/// A server that gives its answers in order, one for each request, and writes down what it was asked.
struct Scripted {
    port: u16,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    async fn new<A: Into<String>>(answers: impl IntoIterator<Item = A>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(vec![]));
        let (heard, answers) = (requests.clone(), answers.into_iter().map(Into::into).collect::<Vec<String>>());
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let Some(request) = support::read_message(&mut stream).await else { continue };
                heard.lock().unwrap().push(String::from_utf8(request).unwrap());
                if answer == "silence" {
                    // Kept open, so that the client must give up by itself.
                    tokio::spawn(async move { support::read_message(&mut stream).await });
                    continue;
                }
                drop(stream.write_all(answer.as_bytes()).await);
                drop(stream.shutdown().await);
            }
        });
        Self { port, requests }
    }

    fn settings(&self) -> Settings {
        let url = format!("http://127.0.0.1:{}/hawkbit/", self.port).parse().unwrap();
        let mut settings = Settings::new(url, "my tenant", "box/17", Token::Target(SECRET.into()));
        settings.plain_http = true;
        settings
    }

    fn client(&self) -> Client {
        Client::new(self.settings()).unwrap()
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn answer(status: u16, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status} Said\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

fn ok(body: &str) -> String {
    answer(200, "", body)
}

async fn poll(answer: impl Into<String>) -> Result<holdfast_hawkbit::Poll, Error> {
    Scripted::new([answer]).await.client().poll().await
}

const IDLE: &str = r#"{"config":{"polling":{"sleep":"00:05:00"}},"_links":{}}"#;

fn id(id: &str) -> ActionId {
    ActionId::try_from(id.to_owned()).unwrap()
}

#[tokio::test]
async fn a_poll_of_a_newer_server_through_a_proxy() {
    let body = r#"{"config":{"polling":{"sleep":"12:00:00","new":1}},"brandNew":[],"_links":{
        "deploymentBase":{"href":"http://10.0.0.1:8080/x/DEFAULT/controller/v1/y/deploymentBase/5?c=-2127183556","title":"t"},
        "confirmationBase":{"href":"https://h/DEFAULT/controller/v1/y/confirmationBase/6?c=1"},
        "installedBase":{"href":"https://h/DEFAULT/controller/v1/y/installedBase/4"},
        "configData":{"href":"https://h/y/configData"},"somethingElse":{"href":"x"}}}"#;
    let deployment = r#"{"id":"5","deployment":{"download":"attempt","update":"urgently","maintenanceWindow":"ajar","chunks":[
        {"part":"os","version":"1","name":"n","encrypted":true,"metadata":[{"key":"k","value":"v"}],"artifacts":[
        {"filename":"big.raucb","size":5368709121,"hashes":{"sha256":"","md5":null,"sha512":"zz"},"_links":{
        "download":{"href":"https://cdn.example/big"},"download-http":{"href":"http://cdn.example/big"},
        "md5sum":{"href":"https://cdn.example/big.MD5SUM"}}}]}]},"actionHistory":{"status":"RUNNING","messages":["b","a"]}}"#;
    let server = Scripted::new([ok(body), ok(deployment)]).await;
    let client = server.client();
    let poll = client.poll().await.unwrap();
    assert_eq!((poll.sleep, poll.config_data_wanted), (Some(Duration::from_secs(43_200)), true));
    assert_eq!(poll.confirmation, Some(ActionRef { id: id("6"), checksum: Some("1".into()) }));
    assert_eq!(poll.installed, Some(id("4").into()));
    let found = client.deployment(&poll.deployment.unwrap()).await.unwrap();
    // What is not understood is not done.
    assert!(found.may_download() && !found.may_install());
    assert_eq!(found.maintenance_window, MaintenanceWindow::Unavailable);
    let artifact = &found.chunks[0].artifacts[0];
    assert_eq!((artifact.size_bytes, artifact.sha256), (Some(5_368_709_121), None));
    assert_eq!(artifact.https.as_ref().unwrap().as_str(), "https://cdn.example/big");
    assert_eq!(artifact.http.as_ref().unwrap().scheme(), "http");
    assert!(found.chunks[0].encrypted && found.chunks[0].metadata["k"] == "v");
    assert_eq!(found.history.unwrap().messages, ["b", "a"]);
    // Asked where the settings say, whatever host the links name, and with everything escaped.
    let base = "GET /hawkbit/my%20tenant/controller/v1/box%2F17";
    let requests = server.requests();
    assert!(requests[0].starts_with(&format!("{base} HTTP/1.1")), "{}", requests[0]);
    let second = format!("{base}/deploymentBase/5?c=-2127183556&actionHistory=20 HTTP/1.1");
    assert!(requests[1].starts_with(&second), "{}", requests[1]);
    assert!(requests[1].contains(&format!("authorization: TargetToken {SECRET}")), "{}", requests[1]);
}

/// hawkBit says "skip" as well while the window is closed; who does not must not be misread.
#[tokio::test]
async fn a_closed_window_outweighs_a_forced_update() {
    for (window, may) in
        [("", true), (r#""maintenanceWindow":"unavailable","#, false), (r#""maintenanceWindow":"available","#, true)]
    {
        let body = format!(r#"{{"id":5,"deployment":{{"download":"forced",{window}"update":"forced","chunks":[]}}}}"#);
        let server = Scripted::new([ok(&body)]).await;
        assert_eq!(server.client().deployment(&id("5").into()).await.unwrap().may_install(), may, "{window}");
    }
}

#[tokio::test]
async fn confirmation_is_asked_for_and_given() {
    let body = r#"{"id":"6","confirmation":{"download":"forced","update":"forced","chunks":[]}}"#;
    let server = Scripted::new([ok(body), ok("")]).await;
    let client = server.client();
    assert!(client.confirmation(&id("6").into()).await.unwrap().may_install());
    client.confirm(&id("6"), Confirmation::Denied, &["recording".into()]).await.unwrap();
    let sent = &server.requests()[1];
    assert!(
        sent.starts_with("POST /hawkbit/my%20tenant/controller/v1/box%2F17/confirmationBase/6/feedback "),
        "{sent}"
    );
    assert!(sent.ends_with(r#"{"confirmation":"denied","details":["recording"]}"#), "{sent}");
}

#[tokio::test]
async fn what_a_status_means() {
    let busy = |answer: Result<_, Error>| match answer {
        Err(Error::Busy { status, retry_after, .. }) => (status, retry_after.map(|after| after.as_secs())),
        other => panic!("{other:?}"),
    };
    assert_eq!(busy(poll(answer(429, "Retry-After: 17\r\n", "")).await), (429, Some(17)));
    assert_eq!(busy(poll(answer(503, "", "<html>")).await), (503, None));
    let dates = "Date: Fri, 01 Jan 1999 00:00:00 GMT\r\nRetry-After: Fri, 01 Jan 1999 00:01:30 GMT\r\n";
    assert_eq!(busy(poll(answer(503, dates, "")).await), (503, Some(90)));

    let told = |code: &str| format!(r#"{{"exceptionClass":"x","errorCode":"{code}","message":"m"}}"#);
    let quota = told("hawkbit.server.error.quota.tooManyEntries");
    for status in [403, 429] {
        let found = poll(answer(status, "", &quota)).await;
        assert!(matches!(found, Err(Error::Quota { .. })), "{found:?}");
    }
    let found = poll(answer(409, "", &told("hawkbit.server.error.repo.concurrentModification"))).await;
    assert!(
        matches!(&found, Err(Error::Conflict { code: Some(code), .. }) if code.ends_with("Modification")),
        "{found:?}"
    );
    let found = poll(answer(403, "", "")).await;
    assert!(matches!(found, Err(Error::Denied { status: 403, .. })), "{found:?}");
    for (status, expected) in [(404, "gone"), (410, "gone"), (400, "refuses"), (500, "broken"), (502, "broken")] {
        let error = poll(answer(status, "", &told("a name <b>of no</b> hawkBit"))).await.unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains("<b>"), "{status}: {error}");
    }
}

#[tokio::test]
async fn garbage_and_broken_answers() {
    let malformed = [
        "",
        "{}",
        "[]",
        "nonsense",
        "<html></html>",
        r#"{"config":null}"#,
        &IDLE[..30],
        r#"{"_links":{"deploymentBase":{}}}"#,
        r#"{"_links":{"deploymentBase":{"href":"https://h/deploymentBase/../x"}}}"#,
    ];
    for body in malformed {
        let found = poll(ok(body)).await;
        assert!(matches!(found, Err(Error::Malformed { .. })), "{body}: {found:?}");
    }
    // Fewer bytes than promised, another protocol, nothing at all.
    let cut = format!("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n{IDLE}");
    for broken in [cut.as_str(), "SSH-2.0-OpenSSH\r\n\r\n", "HTTP/1.1 200", ""] {
        let found = poll(broken).await;
        assert!(matches!(&found, Err(error) if error.is_uncertain()), "{broken}: {found:?}");
    }
    let endless = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}", " ".repeat(5 << 20));
    let found = poll(endless).await;
    assert!(matches!(found, Err(Error::TooLarge { .. })), "{found:?}");

    for artifact in [
        r#"{"filename":"../../etc/passwd"}"#,
        r#"{"filename":".."}"#,
        r#"{"filename":"f","size":-1}"#,
        r#"{"filename":"f","hashes":{"sha256":"abcd"}}"#,
        r#"{"filename":"f","hashes":{"sha1":"zz"}}"#,
        r#"{"size":1}"#,
    ] {
        let body = format!(r#"{{"id":"5","deployment":{{"chunks":[{{"artifacts":[{artifact}]}}]}}}}"#);
        let server = Scripted::new([ok(&body)]).await;
        let found = server.client().deployment(&id("5").into()).await;
        assert!(matches!(found, Err(Error::Malformed { .. })), "{artifact}: {found:?}");
    }
}

#[tokio::test]
async fn a_silent_server_is_given_up() {
    let server = Scripted::new(["silence"]).await;
    let mut settings = server.settings();
    settings.timeout = Duration::from_millis(50);
    let found = Client::new(settings).unwrap().poll().await;
    assert!(matches!(found, Err(Error::TimedOut { .. })), "{found:?}");
}

#[tokio::test]
async fn redirects_stay_on_the_server_and_reports_stay_reports() {
    let other = Scripted::new([ok(IDLE)]).await;
    let away = format!("Location: http://127.0.0.1:{}/\r\n", other.port);
    for status in [301, 302, 303, 307, 308] {
        let found = poll(answer(status, &away, "")).await;
        assert!(matches!(found, Err(Error::Redirected { .. })), "{found:?}");
    }
    assert!(other.requests().is_empty(), "the token went elsewhere");

    let here = answer(302, "Location: /elsewhere/x\r\n", "");
    let server = Scripted::new([here.clone(), ok(IDLE)]).await;
    server.client().poll().await.unwrap();
    assert!(server.requests()[1].starts_with("GET /elsewhere/x "));
    let server = Scripted::new(vec![here.clone(); 9]).await;
    let found = server.client().poll().await;
    assert!(matches!(found, Err(Error::Redirected { .. })), "{found:?}");
    assert_eq!(server.requests().len(), 4);

    let feedback = Feedback::new(Execution::Scheduled, ["x"]);
    let server = Scripted::new([here]).await;
    let found = server.client().feedback(&id("5"), &feedback).await;
    assert!(matches!(found, Err(Error::Redirected { .. })), "{found:?}");
    let server = Scripted::new([answer(308, "Location: /elsewhere/x\r\n", ""), ok("")]).await;
    server.client().feedback(&id("5"), &feedback).await.unwrap();
    let sent = &server.requests()[1];
    assert!(sent.starts_with("POST /elsewhere/x ") && sent.ends_with('}'), "{sent}");
}

#[tokio::test]
async fn feedback_as_the_api_has_it() {
    let server = Scripted::new([ok(""), ok("")]).await;
    let client = server.client();
    let progress = Execution::Proceeding { percent: Some(40) };
    let long = "é".repeat(2000);
    let mut feedback = Feedback::new(progress, ["at 40 %", "", "two\nlines", &long]);
    (feedback.code, feedback.at_unix_ms) = (Some(-7), Some(1_627_997_501_890));
    client.feedback(&id("5"), &feedback).await.unwrap();
    client.feedback(&id("5"), &Feedback::new(Execution::Closed(Outcome::Failure), ["x"; 200])).await.unwrap();
    let body = |request: &String| -> serde_json::Value {
        serde_json::from_str(request.split("\r\n\r\n").nth(1).unwrap()).unwrap()
    };
    let found: Vec<_> = server.requests().iter().map(body).collect();
    let expected = serde_json::json!({ "id": "5", "timestamp": 1_627_997_501_890_u64, "status": {
        "execution": "proceeding", "result": { "finished": "none", "progress": { "cnt": 40, "of": 100 } }, "code": -7,
        "details": ["at 40 %", "two lines", "é".repeat(500)] } });
    assert_eq!(found[0], expected);
    assert_eq!(found[1]["status"]["execution"], "closed");
    assert_eq!(found[1]["status"]["result"]["finished"], "failure");
    assert_eq!(found[1]["status"]["details"].as_array().unwrap().len(), 20);
}

#[tokio::test]
async fn nothing_shows_the_token() {
    let server = Scripted::new([answer(401, "", "")]).await;
    let client = server.client();
    let error = client.poll().await.unwrap_err();
    let ours = "http://127.0.0.1:1/x".parse().unwrap();
    let headers = client.download_headers(&format!("http://127.0.0.1:{}/x", server.port).parse().unwrap());
    assert_eq!(headers["authorization"], format!("TargetToken {SECRET}"));
    let shown = format!("{client:?} {error:?} {error} {:?} {headers:?}", server.settings());
    assert!(!shown.contains(SECRET), "{shown}");
    // Other ports are other servers, unless named.
    assert!(client.download_headers(&ours).is_empty());
    let mut settings = server.settings();
    settings.download_hosts = vec![url::Host::parse("cdn.example").unwrap()];
    settings.plain_http = true;
    let client = Client::new(settings).unwrap();
    assert!(client.download_headers(&"https://cdn.example/x".parse().unwrap()).contains_key("authorization"));
    assert!(client.download_headers(&"https://cdn.example.evil/x".parse().unwrap()).is_empty());
    assert!(client.download_headers(&"ftp://cdn.example/x".parse().unwrap()).is_empty());
}

#[test]
fn settings_that_cant_be_used_say_which() {
    let with = |url: &str, change: fn(&mut Settings)| {
        let mut settings = Settings::new(url.parse().unwrap(), "DEFAULT", "box", Token::Target(SECRET.into()));
        change(&mut settings);
        Client::new(settings).unwrap_err().to_string()
    };
    for (error, named) in [
        (with("http://h", |_| ()), "Settings.url"),
        (with("ftp://h", |_| ()), "ftp://"),
        (with("https://me:pass@h", |_| ()), "user or password"),
        (with("https://h/?x", |_| ()), "neither ?"),
        (with("https://h", |settings| settings.controller_id.clear()), "Settings.controller_id"),
        (with("https://h", |settings| settings.tenant = "..".into()), "Settings.tenant"),
        (with("https://h", |settings| settings.token = Token::Gateway("a b".into())), "Settings.token"),
        (with("https://h", |settings| settings.ca = holdfast_hawkbit::Ca::File("/nowhere".into())), "/nowhere"),
    ] {
        assert!(error.contains(named), "{error}");
        assert!(!error.contains(SECRET) && !error.contains("pass@"), "{error}");
    }
}

/// Tells one message of each kind to a server with these answers; says what became of it and how many still wait.
async fn delivered(execution: Execution, answers: &[String]) -> (Delivery, usize, Vec<String>) {
    let server = Scripted::new(answers.to_vec()).await;
    let directory = tempfile::tempdir().unwrap();
    let (mut outbox, _) = Outbox::open(directory.path()).unwrap();
    let _ = outbox.feedback(&id("5"), Feedback::new(execution, ["text"])).unwrap();
    let found = deliver(&server.client(), &mut outbox).await.unwrap();
    drop(outbox);
    (found, Outbox::open(directory.path()).unwrap().0.waiting().count(), server.requests())
}

#[tokio::test]
async fn a_final_result_is_given_up_only_when_hawkbit_says_so() {
    let end = Execution::Closed(Outcome::Success);
    let progress = Execution::Proceeding { percent: Some(1) };
    let gone = answer(404, "", "default backend");
    let offered =
        ok(r#"{"config":{"polling":{"sleep":"00:05:00"}},"_links":{"deploymentBase":{"href":"/deploymentBase/5"}}}"#);

    // A proxy's 404, while hawkBit is not behind it, or still wants the result.
    for then in [gone.clone(), answer(502, "", ""), offered] {
        let (found, waiting, _) = delivered(end, &[gone.clone(), then]).await;
        assert!(matches!(found, Delivery::Later { .. }) && waiting == 1, "{found:?}");
    }
    let (found, waiting, _) = delivered(end, &[gone.clone(), ok(IDLE)]).await;
    assert!(matches!(found, Delivery::Over { .. }) && waiting == 0, "{found:?}");
    let (found, waiting, _) = delivered(end, &[answer(410, "", "")]).await;
    assert!(matches!(found, Delivery::Over { .. }) && waiting == 0, "{found:?}");
    for status in [401, 403, 409, 429, 500, 503] {
        for execution in [end, progress] {
            let (found, waiting, _) = delivered(execution, &[answer(status, "", "")]).await;
            assert!(matches!(found, Delivery::Later { .. }) && waiting == 1, "{status}: {found:?}");
        }
    }
    // What is refused for good: progress goes; a result is tried without its details, and kept if that fails too.
    let refused = answer(400, "", "");
    let (found, waiting, _) = delivered(progress, std::slice::from_ref(&refused)).await;
    assert!(matches!(found, Delivery::Dropped { .. }) && waiting == 0, "{found:?}");
    let (found, waiting, requests) = delivered(end, &[refused.clone(), ok("")]).await;
    assert!(matches!(found, Delivery::Taken { .. }) && waiting == 0, "{found:?}");
    assert!(requests[0].contains("text") && !requests[1].contains("text"), "{requests:?}");
    let (found, waiting, _) = delivered(end, &[refused.clone(), refused]).await;
    assert!(matches!(found, Delivery::Later { .. }) && waiting == 1, "{found:?}");
    let quota = answer(429, "", r#"{"errorCode":"hawkbit.server.error.quota.tooManyEntries"}"#);
    let (found, waiting, _) = delivered(progress, &[quota]).await;
    assert!(matches!(found, Delivery::Dropped { .. }) && waiting == 0, "{found:?}");
}

/// A result that the server refuses does not hold up those of other actions.
#[tokio::test]
async fn a_stuck_result_lets_others_pass() {
    let refused = answer(400, "", "");
    let server = Scripted::new([refused.clone(), refused, ok(""), ok("")]).await;
    let (directory, client) = (tempfile::tempdir().unwrap(), server.client());
    let (mut outbox, _) = Outbox::open(directory.path()).unwrap();
    for action in ["5", "6"] {
        let _ = outbox.feedback(&id(action), Feedback::new(Execution::Closed(Outcome::Success), ["x"])).unwrap();
    }
    let mut order = vec![];
    loop {
        match deliver(&client, &mut outbox).await.unwrap() {
            Delivery::Taken { message } => order.push(format!("{message:?}").contains("\"6\"")),
            Delivery::Later { .. } => {}
            Delivery::Empty => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(order, [true, false]);
}
