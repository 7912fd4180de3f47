//! What a Jetson's firmware keeps of its two root filesystems, read without changing anything.
//!
//! The variables are those of edk2-nvidia (`L4TRootfsValidation`): four bytes of attributes as efivarfs has them, then a
//! little-endian number of four bytes. [`boot-backend`](../../jetson/boot-backend) writes them.

use std::io;
use std::path::Path;

/// Where the kernel shows the firmware's variables.
pub const EFIVARS: &str = "/sys/firmware/efi/efivars";

/// NVIDIA's public variables: no other firmware has any of this name.
const GUID: &str = "781e084c-a330-417c-b678-38e696380cb9";

/// See the module. What is `None` is not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Jetson {
    /// `RootfsRedundancyLevel`: 0 or not set, and the firmware ignores every switch.
    pub redundancy_level: Option<u32>,
    /// `RootfsStatusSlotA` and `…B`: 0 is normal, 0xFF unbootable.
    pub slot_status: [Option<u32>; 2],
}

impl Jetson {
    /// Reads it. `None`: this is no Jetson.
    ///
    /// # Errors
    /// The directory or a variable is there and can't be read.
    pub fn read(efivars: &Path) -> io::Result<Option<Self>> {
        let entries = match std::fs::read_dir(efivars) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut is_jetson = false;
        for entry in entries {
            is_jetson |= entry?.file_name().to_string_lossy().ends_with(GUID);
        }
        if !is_jetson {
            return Ok(None);
        }
        let number = |name: &str| match std::fs::read(efivars.join(format!("{name}-{GUID}"))) {
            Ok(bytes) => Ok(bytes.get(4..8).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        Ok(Some(Self {
            redundancy_level: number("RootfsRedundancyLevel")?,
            slot_status: [number("RootfsStatusSlotA")?, number("RootfsStatusSlotB")?],
        }))
    }

    /// The firmware boots the other slot when it is told to.
    #[must_use]
    pub fn is_redundant(&self) -> bool {
        self.redundancy_level.is_some_and(|level| level >= 1)
    }

    /// The status of the slot with this boot name (A or B).
    #[must_use]
    pub fn status(&self, bootname: &str) -> Option<u32> {
        let [a, b] = self.slot_status;
        match bootname {
            "A" => a,
            "B" => b,
            _ => None,
        }
    }
}
