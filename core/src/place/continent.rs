//! Which continent a country is on.

/// Every country of ISO 3166-1 and its continent, sorted, five bytes each. Countries on two continents
/// are where most of their people live; Cyprus goes with the Union that it is a member of.
const COUNTRIES: &str = "ADEU AEAS AFAS AGNA AINA ALEU AMAS AOAF AQAN ARSA ASOC ATEU AUOC AWNA AXEU AZAS BAEU BBNA \
    BDAS BEEU BFAF BGEU BHAS BIAF BJAF BLNA BMNA BNAS BOSA BQNA BRSA BSNA BTAS BVAN BWAF BYEU \
    BZNA CANA CCAS CDAF CFAF CGAF CHEU CIAF CKOC CLSA CMAF CNAS COSA CRNA CUNA CVAF CWNA CXOC \
    CYEU CZEU DEEU DJAF DKEU DMNA DONA DZAF ECSA EEEU EGAF EHAF ERAF ESEU ETAF FIEU FJOC FKSA \
    FMOC FOEU FREU GAAF GBEU GDNA GEAS GFSA GGEU GHAF GIEU GLNA GMAF GNAF GPNA GQAF GREU GSAN \
    GTNA GUOC GWAF GYSA HKAS HMAN HNNA HREU HTNA HUEU IDAS IEEU ILAS IMEU INAS IOAS IQAS IRAS \
    ISEU ITEU JEEU JMNA JOAS JPAS KEAF KGAS KHAS KIOC KMAF KNNA KPAS KRAS KWAS KYNA KZAS LAAS \
    LBAS LCNA LIEU LKAS LRAF LSAF LTEU LUEU LVEU LYAF MAAF MCEU MDEU MEEU MFNA MGAF MHOC MKEU \
    MLAF MMAS MNAS MOAS MPOC MQNA MRAF MSNA MTEU MUAF MVAS MWAF MXNA MYAS MZAF NAAF NCOC NEAF \
    NFOC NGAF NINA NLEU NOEU NPAS NROC NUOC NZOC OMAS PANA PESA PFOC PGOC PHAS PKAS PLEU PMNA \
    PNOC PRNA PSAS PTEU PWOC PYSA QAAS REAF ROEU RSEU RUEU RWAF SAAS SBOC SCAF SDAF SEEU SGAS \
    SHAF SIEU SJEU SKEU SLAF SMEU SNAF SOAF SRSA SSAF STAF SVNA SXNA SYAS SZAF TCNA TDAF TFAN \
    TGAF THAS TJAS TKOC TLAS TMAS TNAF TOOC TRAS TTNA TVOC TWAS TZAF UAEU UGAF UMOC USNA UYSA \
    UZAS VAEU VCNA VESA VGNA VINA VNAS VUOC WFOC WSOC YEAS YTAF ZAAF ZMAF ZWAF";
const WIDTH: usize = 5;

/// The continent of a country of ISO 3166-1: `AF`, `AN`, `AS`, `EU`, `NA`, `OC` or `SA`; empty for any
/// other text.
pub fn continent_of(country: &str) -> &'static str {
    // Not in the standard, but in every database of places: Kosovo.
    if country == "XK" {
        return "EU";
    }
    let (mut low, mut high) = (0, COUNTRIES.len().div_ceil(WIDTH));
    while low < high {
        let middle = usize::midpoint(low, high);
        let entry = &COUNTRIES[middle * WIDTH..middle * WIDTH + 4];
        match entry[..2].cmp(country) {
            std::cmp::Ordering::Equal => return &entry[2..],
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Greater => high = middle,
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_country_of_the_standard_is_on_one_continent() {
        let entries: Vec<&str> = COUNTRIES.split(' ').collect();
        assert_eq!(entries.len(), 249);
        assert!(entries.windows(2).all(|pair| pair[0][..2] < pair[1][..2]));
        for entry in &entries {
            assert_eq!(continent_of(&entry[..2]), &entry[2..]);
        }
        let on = |continent| {
            entries
                .iter()
                .filter(|entry| entry.ends_with(continent))
                .count()
        };
        let counts = ["AF", "AN", "AS", "EU", "NA", "OC", "SA"].map(on);
        assert_eq!(counts, [58, 5, 52, 52, 41, 27, 14]);
        assert_eq!(counts.iter().sum::<usize>(), 249);
    }

    #[test]
    fn well_known_countries_are_where_they_are_and_other_texts_nowhere() {
        for (country, continent) in [
            ("DE", "EU"),
            ("GB", "EU"),
            ("RU", "EU"),
            ("XK", "EU"),
            ("US", "NA"),
            ("MX", "NA"),
            ("BR", "SA"),
            ("JP", "AS"),
            ("TR", "AS"),
            ("NG", "AF"),
            ("AU", "OC"),
            ("AQ", "AN"),
            ("AD", "EU"),
            ("ZW", "AF"),
            ("", ""),
            ("D", ""),
            ("de", ""),
            ("DEU", ""),
            ("XX", ""),
            ("ZZ", ""),
            ("\u{e4}", ""),
        ] {
            assert_eq!(continent_of(country), continent, "{country}");
        }
    }
}
