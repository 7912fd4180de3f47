//! What we ask a camera, and how we prove who we are.

use std::fmt;

use http_auth::{PasswordClient, PasswordParams};
use rtsp_types::headers::{AUTHORIZATION, CSEQ, HeaderName, SESSION, USER_AGENT, WWW_AUTHENTICATE};
use rtsp_types::{Method, Request, Response, Url, Version};

use crate::Error;

/// User and password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user's name.
    pub user: String,
    /// Its password.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

/// Numbers, signs and writes requests.
#[derive(Debug)]
pub struct Requests {
    user_agent: String,
    credentials: Option<Credentials>,
    proof: Option<PasswordClient>,
    sequence: u32,
    session: Option<String>,
}

impl Requests {
    /// For one connection.
    #[must_use]
    pub fn new(user_agent: &str, credentials: Option<Credentials>) -> Self {
        Self { user_agent: user_agent.to_owned(), credentials, proof: None, sequence: 0, session: None }
    }

    /// Belongs to this session from now on.
    pub fn set_session(&mut self, session: String) {
        self.session = Some(session);
    }

    /// The session, once there is one.
    #[must_use]
    pub fn session(&self) -> Option<&str> {
        self.session.as_deref()
    }

    /// A request in bytes, and its number.
    ///
    /// # Errors
    /// The camera asks for a proof we cannot give.
    pub fn request(
        &mut self,
        method: &Method,
        url: &Url,
        headers: &[(HeaderName, String)],
    ) -> Result<(Vec<u8>, u32), Error> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut builder = Request::builder(method.clone(), Version::V1_0)
            .request_uri(url.clone())
            .header(CSEQ, self.sequence.to_string())
            .header(USER_AGENT, self.user_agent.as_str());
        if let (Some(proof), Some(credentials)) = (&mut self.proof, &self.credentials) {
            let answer = proof.respond(&PasswordParams {
                username: &credentials.user,
                password: &credentials.password,
                uri: url.as_str(),
                method: method.into(),
                body: Some(&[]),
            });
            let answer = answer.map_err(|why| Error::UnknownAuthentication { why })?;
            builder = builder.header(AUTHORIZATION, answer);
        }
        if let Some(session) = &self.session {
            builder = builder.header(SESSION, session.as_str());
        }
        for (name, value) in headers {
            builder = builder.header(name.clone(), value.as_str());
        }
        let mut bytes = Vec::with_capacity(512);
        // Into memory, so this does not fail.
        let _ = builder.empty().write(&mut bytes);
        Ok((bytes, self.sequence))
    }

    /// The camera wants a proof (401). The next request carries it.
    ///
    /// # Errors
    /// There are no credentials, or the challenge makes no sense to us.
    pub fn challenged<B>(&mut self, response: &Response<B>) -> Result<(), Error> {
        if self.credentials.is_none() {
            return Err(Error::NeedsCredentials);
        }
        let challenges = response.header(&WWW_AUTHENTICATE).map_or("", |value| value.as_str());
        let proof = PasswordClient::builder().challenges(challenges).build();
        self.proof = Some(proof.map_err(|why| Error::UnknownAuthentication { why })?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Credentials, Requests};
    use crate::Error;
    use rtsp_types::{Message, Method, Response, Url};

    fn refusal(challenge: &str) -> Response<Vec<u8>> {
        let text = format!("RTSP/1.0 401 Unauthorized\r\nCSeq: 1\r\n{challenge}\r\n\r\n");
        let Ok((Message::Response(response), _)) = Message::parse(text.as_bytes()) else {
            panic!("{text}");
        };
        response
    }

    fn ask(requests: &mut Requests) -> String {
        let url = Url::parse("rtsp://cam.lan/stream").unwrap();
        let (bytes, _) = requests.request(&Method::Describe, &url, &[]).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn proves_who_we_are() {
        let known = Credentials { user: "admin".into(), password: "secret".into() };
        assert!(!format!("{known:?}").contains("secret"));
        let mut requests = Requests::new("test", Some(known));
        assert!(!ask(&mut requests).contains("Authorization"));
        // Basic is offered first; Digest is better.
        let both = "WWW-Authenticate: Basic realm=\"cam\"\r\nWWW-Authenticate: Digest realm=\"cam\", nonce=\"abc\"";
        requests.challenged(&refusal(both)).unwrap();
        let text = ask(&mut requests);
        // md5(md5(admin:cam:secret):abc:md5(DESCRIBE:rtsp://cam.lan/stream))
        assert!(text.contains("Authorization: Digest") && text.contains("uri=\"rtsp://cam.lan/stream\""), "{text}");
        assert!(text.contains("CSeq: 2"), "{text}");
        requests.challenged(&refusal("WWW-Authenticate: Basic realm=\"cam\"")).unwrap();
        assert!(ask(&mut requests).contains("Authorization: Basic YWRtaW46c2VjcmV0"));
        let strange = requests.challenged(&refusal("WWW-Authenticate: Negotiate"));
        assert!(matches!(strange, Err(Error::UnknownAuthentication { .. })));
    }

    #[test]
    fn has_no_proof_without_credentials() {
        let mut requests = Requests::new("test", None);
        let wanted = requests.challenged(&refusal("WWW-Authenticate: Basic realm=\"cam\""));
        assert!(matches!(wanted, Err(Error::NeedsCredentials)));
    }
}
