//! A UDP relay of its own thread that delays every packet, as there is no slow network at hand.

use std::collections::VecDeque;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// Passes packets between clients and `server`, each `one_way` later; its address. It serves one
/// client socket and runs until the process ends.
pub(crate) fn start(server: SocketAddr, one_way: Duration) -> SocketAddr {
    let front = UdpSocket::bind("127.0.0.1:0").unwrap();
    let back = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = front.local_addr().unwrap();
    let (client_out, client_in) = std::sync::mpsc::channel();
    let (up, down) = (front.try_clone().unwrap(), back.try_clone().unwrap());
    std::thread::spawn(move || {
        let mut client = None;
        pass(&up, one_way, |packet, from| {
            if client != Some(from) {
                client = Some(from);
                let _ = client_out.send(from);
            }
            let _ = back.send_to(packet, server);
        });
    });
    std::thread::spawn(move || {
        let mut client = client_in.recv().unwrap();
        pass(&down, one_way, |packet, _| {
            client = client_in.try_iter().last().unwrap_or(client);
            let _ = front.send_to(packet, client);
        });
    });
    address
}

/// Receives, holds for `one_way`, hands on.
fn pass(socket: &UdpSocket, one_way: Duration, mut on: impl FnMut(&[u8], SocketAddr)) {
    let mut held: VecDeque<(Instant, Vec<u8>, SocketAddr)> = VecDeque::new();
    let mut buffer = vec![0; 65_536];
    loop {
        while let Some((due, packet, from)) = held.pop_front() {
            if due > Instant::now() {
                held.push_front((due, packet, from));
                break;
            }
            on(&packet, from);
        }
        let pause = held
            .front()
            .map(|(due, ..)| due.saturating_duration_since(Instant::now()));
        let pause = pause.map(|pause| pause.max(Duration::from_micros(50)));
        socket.set_read_timeout(pause).unwrap();
        if let Ok((length, from)) = socket.recv_from(&mut buffer) {
            if one_way.is_zero() {
                on(&buffer[..length], from);
            } else {
                held.push_back((Instant::now() + one_way, buffer[..length].to_vec(), from));
            }
        }
    }
}
