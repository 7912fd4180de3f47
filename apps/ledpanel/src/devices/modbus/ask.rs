//! The questions that a module is asked, and what counts as an answer to each.

use std::borrow::Cow;

use tokio_modbus::{ExceptionCode, Request, Response};

use super::PointKind;
use super::link::{Failure, Link};
use super::map::{Output, Range};

/// The module will say so for ever.
pub fn is_final(code: ExceptionCode) -> bool {
    matches!(code, ExceptionCode::IllegalFunction | ExceptionCode::IllegalDataAddress | ExceptionCode::IllegalDataValue)
}

/// Asks for bits; of a register (only to see whether it is there) nothing is told.
pub async fn read_range(link: &mut Link<'_>, kind: PointKind, start: u16, count: u16) -> Result<Vec<bool>, Failure> {
    let request = match kind {
        PointKind::DiscreteInput => Request::ReadDiscreteInputs(start, count),
        PointKind::Coil => Request::ReadCoils(start, count),
        PointKind::HoldingRegister => Request::ReadHoldingRegisters(start, count),
    };
    match link.call(request).await? {
        Response::ReadDiscreteInputs(bits) | Response::ReadCoils(bits)
            // Bits come in whole bytes. Another number of bytes is the answer to another question.
            if bits.len() == usize::from(count).next_multiple_of(8) =>
        {
            Ok(bits)
        }
        Response::ReadHoldingRegisters(words) if words.len() == usize::from(count) => Ok(vec![]),
        other => Err(Failure::Spoilt(format!("{other:?}"))),
    }
}

/// Writes a range in one request, or point by point where the module knows only that. `singly` is which of both it was.
pub async fn write_range(
    link: &mut Link<'_>,
    range: &Range<Output>,
    values: &[u16],
    singly: &mut bool,
) -> Result<(), Failure> {
    let written = write(link, range, values, *singly).await;
    if !matches!(written, Err(Failure::Refused(ExceptionCode::IllegalFunction))) {
        return written;
    }
    write(link, range, values, !*singly).await?;
    *singly = !*singly;
    Ok(())
}

async fn write(link: &mut Link<'_>, range: &Range<Output>, values: &[u16], singly: bool) -> Result<(), Failure> {
    let Range { kind, start, .. } = *range;
    if singly {
        for (address, &value) in (start..=u16::MAX).zip(values) {
            let request = match kind {
                PointKind::HoldingRegister => Request::WriteSingleRegister(address, value),
                _ => Request::WriteSingleCoil(address, value != 0),
            };
            match link.call(request).await? {
                Response::WriteSingleRegister(at, _) | Response::WriteSingleCoil(at, _) if at == address => {}
                other => return Err(Failure::Spoilt(format!("{other:?}"))),
            }
        }
        return Ok(());
    }
    let request = match kind {
        PointKind::HoldingRegister => Request::WriteMultipleRegisters(start, Cow::Borrowed(values)),
        _ => Request::WriteMultipleCoils(start, values.iter().map(|&value| value != 0).collect()),
    };
    match link.call(request).await? {
        Response::WriteMultipleRegisters(at, n) | Response::WriteMultipleCoils(at, n)
            if at == start && usize::from(n) == values.len() =>
        {
            Ok(())
        }
        other => Err(Failure::Spoilt(format!("{other:?}"))),
    }
}
