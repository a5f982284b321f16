//! One netlink conversation at a time with the kernel, about its routing side unless another is asked for.
//!
//! Written by hand on purpose: a client that takes the end of its connection for the end of an answer reports a
//! removal that never happened as done, and such a removal may leave two writers. Here a request has succeeded only when its
//! acknowledgement, or the end of its dump, has been read.
//!
//! The kernel works on a request inside `send` and may wait there for its configuration lock, so these calls block: they
//! belong on a thread made for that. It knows nothing of addresses or connections.

use std::io::{self, Read};
use std::time::Duration;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader,
    NetlinkMessage, NetlinkPayload, NetlinkSerializable,
};
use socket2::{Domain, Protocol, Socket, Type};

use crate::socket_address::netlink_address;

/// The kernel fills no more than 32 KiB of a dump into one datagram.
const BUFFER_BYTES: usize = 64 * 1024;
/// A dump that others keep changing under our eyes is given up after this many attempts.
const DUMP_ATTEMPTS: u32 = 8;
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(crate) struct NetlinkSocket {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

/// A message of the protocol that a socket was opened for.
pub(crate) trait Message: NetlinkSerializable + NetlinkDeserializable {}

impl<M: NetlinkSerializable + NetlinkDeserializable> Message for M {}

/// Opens a netlink socket for routing messages that has joined `groups` (bits, as in `nl_groups`).
pub(crate) fn open_netlink(groups: u32) -> io::Result<Socket> {
    open_protocol(libc::NETLINK_ROUTE, groups)
}

fn open_protocol(protocol: libc::c_int, groups: u32) -> io::Result<Socket> {
    let kind = Type::RAW.cloexec();
    let socket = Socket::new_raw(Domain::from(libc::AF_NETLINK), kind, Some(Protocol::from(protocol)))?;
    socket.bind(&netlink_address(groups))?;
    Ok(socket)
}

impl NetlinkSocket {
    /// For routing messages.
    pub(crate) fn open() -> io::Result<Self> {
        Self::open_for(libc::NETLINK_ROUTE)
    }

    /// For the messages of another protocol (`NETLINK_…`).
    pub(crate) fn open_for(protocol: libc::c_int) -> io::Result<Self> {
        let socket = open_protocol(protocol, 0)?;
        socket.connect(&netlink_address(0))?;
        socket.set_read_timeout(Some(ANSWER_LIMIT))?;
        Ok(Self { socket, sequence: 0, buffer: vec![0; BUFFER_BYTES] })
    }

    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Has one change made; returns when the kernel has acknowledged or refused it.
    pub(crate) fn change<M: Message>(&mut self, message: M, flags: u16) -> io::Result<()> {
        self.send(message, NLM_F_REQUEST | NLM_F_ACK | flags)?;
        loop {
            for answer in self.receive::<M>()? {
                if let NetlinkPayload::Error(error) = answer.payload {
                    return if error.code.is_none() { Ok(()) } else { Err(error.to_io()) };
                }
            }
        }
    }

    /// Everything of one kind, as it was at one moment.
    pub(crate) fn dump<M: Message + Clone>(&mut self, request: &M) -> io::Result<Vec<M>> {
        for _ in 0..DUMP_ATTEMPTS {
            if let Some(found) = self.dump_once(request.clone())? {
                return Ok(found);
            }
        }
        Err(io::Error::other(format!("the list changed during each of {DUMP_ATTEMPTS} attempts to read it")))
    }

    /// `None` when the list changed while it was read, so that an entry may be missing in it.
    fn dump_once<M: Message>(&mut self, request: M) -> io::Result<Option<Vec<M>>> {
        self.send(request, NLM_F_REQUEST | NLM_F_DUMP)?;
        let mut found = Vec::new();
        let mut whole = true;
        loop {
            for answer in self.receive()? {
                whole &= answer.header.flags & NLM_F_DUMP_INTR == 0;
                match answer.payload {
                    NetlinkPayload::InnerMessage(message) => found.push(message),
                    NetlinkPayload::Done(done) if done.code < 0 => {
                        return Err(io::Error::from_raw_os_error(done.code.saturating_neg()));
                    }
                    NetlinkPayload::Done(_) => return Ok(whole.then_some(found)),
                    NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
                    _ => {}
                }
            }
        }
    }

    fn send<M: Message>(&mut self, message: M, flags: u16) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        header.sequence_number = self.sequence;
        let mut request = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        let sent = self.socket.send(&bytes)?;
        if sent == bytes.len() { Ok(()) } else { Err(io::Error::other("the netlink request was cut short")) }
    }

    /// The messages of one datagram that belong to the request under way; answers to earlier requests, whose askers
    /// did not wait for them, are passed over.
    fn receive<M: Message>(&mut self) -> io::Result<Vec<NetlinkMessage<M>>> {
        let length = loop {
            match (&self.socket).read(&mut self.buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "the kernel did not answer"));
                }
                other => break other?,
            }
        };
        parse(&self.buffer[..length], self.sequence)
    }
}

fn parse<M: Message>(datagram: &[u8], sequence: u32) -> io::Result<Vec<NetlinkMessage<M>>> {
    let mut messages = Vec::new();
    let mut rest = datagram;
    while !rest.is_empty() {
        let header: &[u8; 16] = rest.first_chunk().ok_or_else(malformed)?;
        let word =
            |at: usize| u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let length = usize::try_from(word(0)).map_err(io::Error::other)?;
        let message = rest.get(..length).filter(|message| message.len() >= 16).ok_or_else(malformed)?;
        if word(8) == sequence {
            messages.push(NetlinkMessage::deserialize(message).map_err(io::Error::other)?);
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(messages)
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the kernel sent a malformed netlink message")
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::RouteNetlinkMessage;

    use super::*;

    /// An acknowledgement as the kernel sends it: header, code 0, header of the request.
    fn acknowledgement(sequence: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&36u32.to_ne_bytes());
        bytes.extend_from_slice(&2u16.to_ne_bytes());
        bytes.extend_from_slice(&0u16.to_ne_bytes());
        bytes.extend_from_slice(&sequence.to_ne_bytes());
        bytes.extend_from_slice(&[0; 24]);
        bytes
    }

    #[test]
    fn answers_to_earlier_requests_are_passed_over() {
        let mut datagram = acknowledgement(6);
        datagram.extend(acknowledgement(7));
        let messages = parse::<RouteNetlinkMessage>(&datagram, 7).unwrap();
        assert_eq!(messages.len(), 1);
        assert_eq!(messages[0].header.sequence_number, 7);
    }

    #[test]
    fn a_datagram_cut_anywhere_is_an_error_and_no_panic() {
        let datagram = acknowledgement(1);
        for length in 1..datagram.len() {
            assert!(parse::<RouteNetlinkMessage>(&datagram[..length], 1).is_err(), "cut at {length}");
        }
    }

    #[test]
    fn a_message_that_claims_no_length_does_not_loop_for_ever() {
        assert!(parse::<RouteNetlinkMessage>(&[0; 32], 0).is_err());
    }
}
