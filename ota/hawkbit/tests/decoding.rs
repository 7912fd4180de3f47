//! Whatever a server sends: an answer or an error, never a panic; and what we understand survives all that we don't.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use holdfast_hawkbit::{ActionId, ActionRef, Client, Settings, Token};
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

/// Any JSON, with the API's own names in it more often than not.
fn any_json() -> impl Strategy<Value = Value> {
    let words = prop::sample::select(vec![
        "",
        "5",
        "skip",
        "forced",
        "available",
        "00:05:00",
        "99:99:99",
        "http://h/deploymentBase/5?c=1",
        "../x",
        "\u{0}",
        "é",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f32>().prop_map(Value::from),
        words.prop_map(Value::from),
    ];
    let names = prop::sample::select(vec![
        "config",
        "polling",
        "sleep",
        "_links",
        "deploymentBase",
        "cancelAction",
        "configData",
        "href",
        "id",
        "deployment",
        "download",
        "update",
        "maintenanceWindow",
        "chunks",
        "artifacts",
        "filename",
        "hashes",
        "sha256",
        "size",
        "metadata",
        "key",
        "value",
        "actionHistory",
        "status",
        "messages",
        "stopId",
        "confirmation",
        "new",
    ]);
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((names.clone(), inner), 0..6)
                .prop_map(|pairs| pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Value>()),
        ]
    })
}

/// All three kinds of answers, from a server that says this body each time.
fn ask(body: &Value) -> (Result<holdfast_hawkbit::Poll, String>, Result<holdfast_hawkbit::Deployment, String>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let body = body.to_string();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                support::read_message(&mut stream).await;
                let answer =
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
                drop(stream.write_all(answer.as_bytes()).await);
            }
        });
        let mut settings = Settings::new(url.parse().unwrap(), "t", "c", Token::None);
        settings.plain_http = true;
        let client = Client::new(settings).unwrap();
        let action = ActionRef::from(ActionId::try_from("5".to_owned()).unwrap());
        let _ = client.cancel(&action).await;
        let poll = client.poll().await.map_err(|error| error.to_string());
        (poll, client.deployment(&action).await.map_err(|error| error.to_string()))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn anything_is_an_answer_or_an_error(body in any_json()) {
        let (poll, deployment) = ask(&body);
        if let Ok(poll) = poll {
            prop_assert!(poll.deployment.is_none_or(|action| !action.id.as_str().contains(['/', '.'])));
        }
        if let Ok(deployment) = deployment {
            let artifacts = deployment.chunks.iter().flat_map(|chunk| &chunk.artifacts);
            prop_assert!(artifacts.into_iter().all(|artifact| !artifact.filename.contains('/')));
        }
    }

    /// A newer server's additions, anywhere, change nothing.
    #[test]
    fn additions_change_nothing(extra in any_json(), size in any::<u64>(), sha256 in any::<[u8; 32]>()) {
        let plain = |extra: Option<&Value>| {
            let add = |mut value: Value| {
                if let Some(extra) = extra {
                    value["added"] = extra.clone();
                }
                value
            };
            add(json!({
                "config": add(json!({ "polling": add(json!({ "sleep": "01:00:00" })) })),
                "_links": add(json!({ "deploymentBase": add(json!({ "href": "/deploymentBase/5" })) })),
                "id": "5",
                "deployment": add(json!({ "download": "forced", "update": "attempt", "chunks": [add(json!({
                    "part": "os", "version": "1", "name": "n",
                    "artifacts": [add(json!({ "filename": "f", "size": size, "hashes": { "sha256": hex::encode(sha256) } }))],
                }))] })),
            }))
        };
        let (poll, deployment) = ask(&plain(None));
        let artifact = deployment.as_ref().unwrap().chunks[0].artifacts[0].clone();
        prop_assert_eq!((artifact.size_bytes, artifact.sha256), (Some(size), Some(sha256)));
        prop_assert!(poll.as_ref().unwrap().deployment.is_some());
        prop_assert_eq!(ask(&plain(Some(&extra))), (poll, deployment));
    }
}
