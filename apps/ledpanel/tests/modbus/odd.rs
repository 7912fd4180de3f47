//! Modules as pymodbus can't be: silent, talking rubbish, or knowing only half of the functions. Few bytes, written out
//! by hand.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// What such a module does.
#[derive(Debug, Clone, Copy)]
pub enum Odd {
    /// Takes connections and never answers.
    Silent,
    /// Answers what is written, and no question.
    Blind,
    /// Answers, but what?
    Rubbish,
    /// Every eighth answer comes after the panel has given it up.
    Late(Duration),
    /// Knows no function that writes several points.
    OnlySingle,
    /// Has points 0 to 15 and no more.
    Sixteen,
    /// A gateway whose module behind it is away.
    Gateway,
}

/// Listens on a port of its own. Function and first four bytes of every request go to the receiver; full (256): they
/// are left out.
pub async fn start(odd: Odd) -> (u16, mpsc::Receiver<(u8, [u8; 4])>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (told, requests) = mpsc::channel(256);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(stream, odd, told.clone()));
        }
    });
    (port, requests)
}

async fn serve(mut stream: TcpStream, odd: Odd, told: mpsc::Sender<(u8, [u8; 4])>) -> Option<()> {
    for n in 0_u32.. {
        // Transaction, protocol, length, unit; function, address, count or value.
        let mut head = [0; 7];
        stream.read_exact(&mut head).await.ok()?;
        let mut body = vec![0; usize::from(head[5]) - 1];
        stream.read_exact(&mut body).await.ok()?;
        let first = [body[1], body[2], body[3], body[4]];
        let _left_out = told.try_send((body[0], first));
        let refuse = |code| vec![body[0] | 0x80, code];
        let known = match body[0] {
            // Bits: all 0, in as few bytes as they go into.
            1 | 2 => [&[body[0], body[4].div_ceil(8)][..], &vec![0; usize::from(body[4].div_ceil(8))]].concat(),
            3 => [&[3, body[4] * 2][..], &vec![0; usize::from(body[4]) * 2]].concat(),
            _ => body[..5].to_vec(),
        };
        let answer = match odd {
            Odd::Silent => continue,
            Odd::Blind if body[0] < 5 => continue,
            Odd::Rubbish => (n..n + 9).map(|k| k.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect(),
            Odd::OnlySingle if matches!(body[0], 15 | 16) => refuse(1),
            Odd::Gateway => refuse(11),
            // How many: none is written in the requests that write one.
            Odd::Sixteen if body[2] + if matches!(body[0], 5 | 6) { 1 } else { body[4] } > 16 => refuse(2),
            Odd::Late(_) | Odd::Blind | Odd::OnlySingle | Odd::Sixteen => known,
        };
        if let (Odd::Late(late), true) = (odd, n % 8 == 7) {
            tokio::time::sleep(late).await;
        }
        head[5] = u8::try_from(answer.len() + 1).unwrap();
        stream.write_all(&[&head[..], &answer].concat()).await.ok()?;
    }
    None
}
