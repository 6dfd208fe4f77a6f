#!/bin/sh
# Makes the certificates of the tests. They are committed and live for a
# hundred years; run this again only to change what is in them.
#
#   ca          the authority of all but the last two
#   server      localhost, *.sluice.test, 127.0.0.1, ::1
#   second      the same names, another key: for swapping
#   other-host  elsewhere.test only
#   expired     as server, but it ended in 2021
#   client      a client's, CN=client
#   stranger-ca, stranger   an authority that nobody trusts, and its client
set -eu
cd "$(dirname "$0")"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

NAMES="DNS:localhost,DNS:*.sluice.test,IP:127.0.0.1,IP:::1"

key() {
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"
}

sign() { # name, begin, end, options of openssl ca
  out=$1 begin=$2 end=$3
  shift 3
  : > "$tmp/index"
  {
    echo "[ca]"
    echo "database=$tmp/index"
    echo "new_certs_dir=$tmp"
    echo "rand_serial=yes"
    echo "default_md=sha256"
    echo "policy=any"
    echo "[any]"
    echo "organizationName=supplied"
    echo "commonName=supplied"
  } > "$tmp/conf"
  openssl ca -batch -notext -config "$tmp/conf" -name ca -in "$tmp/csr" \
    -extfile "$tmp/ext" -out "$out.pem" -startdate "$begin" -enddate "$end" "$@"
}

authority() { # name, CN
  key "$tmp/$1.key"
  openssl req -new -key "$tmp/$1.key" -subj "/O=Sluice tests/CN=$2" \
    -out "$tmp/csr"
  {
    echo "basicConstraints=critical,CA:TRUE"
    echo "keyUsage=critical,keyCertSign,cRLSign"
    echo "subjectKeyIdentifier=hash"
  } > "$tmp/ext"
  sign "$1" 20200101000000Z 21200101000000Z -selfsign -keyfile "$tmp/$1.key"
}

leaf() { # name, CN, authority, usage, SAN, [begin end]
  key "$1.key"
  openssl req -new -key "$1.key" -subj "/O=Sluice tests/CN=$2" -out "$tmp/csr"
  {
    echo "basicConstraints=critical,CA:FALSE"
    echo "keyUsage=critical,digitalSignature"
    echo "extendedKeyUsage=$4"
    [ -z "$5" ] || echo "subjectAltName=$5"
  } > "$tmp/ext"
  sign "$1" "${6:-20200101000000Z}" "${7:-21200101000000Z}" \
    -cert "$3.pem" -keyfile "$tmp/$3.key"
}

authority ca "Sluice test CA"
leaf server localhost ca serverAuth "$NAMES"
leaf second second ca serverAuth "$NAMES"
leaf other-host elsewhere.test ca serverAuth "DNS:elsewhere.test"
leaf expired localhost ca serverAuth "$NAMES" 20200101000000Z 20210101000000Z
leaf client client ca clientAuth ""
authority stranger-ca "Nobody's CA"
leaf stranger stranger stranger-ca clientAuth ""
