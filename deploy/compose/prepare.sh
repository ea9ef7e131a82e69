#!/bin/sh
# Makes what compose.yaml mounts: a CA, certificates, NATS users and signing keys. Nothing is overwritten: remove the
# directory to begin anew. For trying out: in production the CA, and the root of the signing keys, are kept elsewhere.
#
#   ./prepare.sh [DIRECTORY]        ./state unless given
#
# CHANCERY is the command that makes keys (default: chancery); openssl makes the certificates.
set -eu

umask 077
here=$(cd "$(dirname "$0")" && pwd)
state=${1:-"$here/state"}
chancery=${CHANCERY:-chancery}
days=90

if [ -e "$state" ]; then
  echo "$state is there already: remove it to begin anew" >&2
  exit 1
fi
mkdir -p "$state/tls" "$state/nats"
state=$(cd "$state" && pwd)

# issue NAME SAN: a key and a certificate in tls/NAME/, whose directory one process mounts.
issue() {
  mkdir -p "$state/tls/$1"
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" \
    -keyout "$state/tls/$1/tls.key" -out "$state/tls/$1/request.pem" 2>/dev/null
  printf 'basicConstraints=critical,CA:FALSE\nextendedKeyUsage=serverAuth,clientAuth\nsubjectAltName=%s\n' "$2" \
    > "$state/tls/$1/extensions"
  openssl x509 -req -in "$state/tls/$1/request.pem" -CA "$state/ca/ca.crt" -CAkey "$state/ca/ca.key" -days $days \
    -set_serial "0x$(openssl rand -hex 15)" -extfile "$state/tls/$1/extensions" -out "$state/tls/$1/tls.crt" 2>/dev/null
  rm "$state/tls/$1/request.pem" "$state/tls/$1/extensions"
  cp "$state/ca/ca.crt" "$state/tls/$1/ca.crt"
}

mkdir "$state/ca"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days $days -subj "/CN=Chancery Compose CA" \
  -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign" \
  -keyout "$state/ca/ca.key" -out "$state/ca/ca.crt" 2>/dev/null

issue nats-hub DNS:nats-hub
issue control DNS:control
for region in eu us; do
  issue "nats-$region" "DNS:nats-$region"
  issue "relay-$region" "DNS:relay-$region"
  issue "xds-$region" "DNS:xds-$region,URI:spiffe://chancery.example/xds"
  issue "authz-$region" "DNS:authz-$region-1,DNS:authz-$region-2,URI:spiffe://chancery.example/authz"
  # The gateway that the node serves is all that it gets.
  issue "envoy-$region" "URI:spiffe://chancery.example/node/envoy-$region/gateway/edge-$region"
done

$chancery keys init "$state/keys" --restriction-keys 1
# The root is not needed by any container.
mkdir "$state/offline"
mv "$state/keys/root.pem" "$state/offline/root.pem"

# Users of the hub, then of each region; the public keys are the environment of the nats-servers.
$chancery keys nats "$state/nats/hub" control xds authz operator eu us > "$state/nats/hub.env"
for region in eu us; do
  $chancery keys nats "$state/nats/$region" relay xds authz operator > "$state/nats/$region.env"
  # The leaf node is the hub's user of its region.
  echo "EU_SEED=$(cat "$state/nats/hub/$region.nk")" >> "$state/nats/$region.env"
done

# The delivered configuration, with names of containers for paths of machines. Regions other than eu are made from eu.
delivered="$here/../nats"
paths="s#/etc/chancery/nats/server.pem#/tls/tls.crt#; s#/etc/chancery/nats/server.key#/tls/tls.key#
  s#/etc/chancery/nats/ca.pem#/tls/ca.crt#"
mkdir -p "$state/nats/conf/hub"
sed "$paths" \
  "$delivered/hub.conf" > "$state/nats/conf/hub/hub.conf"
awk '
  # The user of region eu, once more for region us.
  /^      \{$/ { block = ""; inside = 1 }
  inside { block = block $0 "\n" } !inside { print }
  inside && /^      \}$/ {
    inside = 0
    printf "%s", block
    if (block ~ /EU_NKEY/) { gsub(/EU_NKEY/, "US_NKEY", block); gsub(/region\.eu\./, "region.us.", block); printf "%s", block }
  }
' "$delivered/hub-users.conf" > "$state/nats/conf/hub/hub-users.conf"
for region in eu us; do
  mkdir "$state/nats/conf/$region"
  sed "$paths; s#hub.example.com#nats-hub#; s#^server_name: eu#server_name: $region#; s#domain: eu#domain: $region#" \
    "$delivered/region.conf" > "$state/nats/conf/$region/region.conf"
  sed "s#\"eu\\.#\"$region.#g; s#\\.eu_#.$region""_#g; s#region\\.eu\\.#region.$region.#g" \
    "$delivered/region-users.conf" > "$state/nats/conf/$region/region-users.conf"
done

# What containers keep, each its own; they run as whoever owns it.
for name in nats-hub control-1 control-2; do mkdir -p "$state/data/$name"; done
for region in eu us; do
  for name in nats relay xds envoy; do mkdir "$state/data/$name-$region"; done
  mkdir "$state/data/authz-$region-1" "$state/data/authz-$region-2"
done
echo "CHANCERY_USER=$(id -u):$(id -g)" > "$state/compose.env"

echo "made $state: docker compose --env-file state/compose.env up --build"
