{{/*
Parts of NetworkPolicies. Every definition is a YAML list of egress rules or peers, called with the
root context where nothing else is said.
*/}}

{{/* Names of the cluster's DNS. Anywhere by default: node-local caches have addresses of their own. */}}
{{- define "modelyard.network.dns" -}}
{{- $dns := .Values.networkPolicies.dns }}
- ports:
    {{- range $dns.ports }}
    - {protocol: UDP, port: {{ . }}}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
  {{- with $dns.to }}
  to: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{/*
The API server, for pods with a token. A policy is applied behind the Service, so the ports are those
of the API servers themselves, which the installing user can usually look up.
*/}}
{{- define "modelyard.network.apiServer" -}}
{{- $given := .Values.networkPolicies.apiServer }}
{{- $ports := $given.ports }}
{{- if not $ports }}
{{- $ports = list 443 6443 }}
{{- range (lookup "discovery.k8s.io/v1" "EndpointSlice" "default" "kubernetes").ports }}
{{- $ports = append $ports (int .port) }}
{{- end }}
{{- end }}
- ports:
    {{- range $ports | uniq }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
  {{- with $given.cidrs }}
  to:
    {{- range . }}
    - ipBlock: {cidr: {{ . | quote }}}
    {{- end }}
  {{- end }}
{{- end }}

{{/* The store; empty for a directory. */}}
{{- define "modelyard.network.store" -}}
{{- $endpoint := include "modelyard.store.endpoint" . }}
{{- if .Values.store.embedded.enabled }}
- ports:
    - {protocol: TCP, port: {{ .Values.store.embedded.port }}}
  to:
    - namespaceSelector:
        matchLabels: {kubernetes.io/metadata.name: {{ .Release.Namespace }}}
      podSelector:
        matchLabels: {{- include "modelyard.selector" (dict "root" . "component" "store") | nindent 10 }}
{{- else if not (hasPrefix "file://" .Values.store.url) }}
{{- $host := (urlParse (default "https://s3" $endpoint)).host }}
{{- $port := regexFind ":[0-9]+$" $host | trimPrefix ":" | default (ternary "80" "443" (hasPrefix "http://" $endpoint)) }}
- ports:
    - {protocol: TCP, port: {{ $port }}}
  {{- with .Values.networkPolicies.store.cidrs }}
  to:
    {{- range . }}
    - ipBlock: {cidr: {{ . | quote }}}
    {{- end }}
  {{- end }}
{{- if not (include "modelyard.store.secret" .) }}
# Without a Secret, pods sign with the identity that their cloud gives them: its metadata service,
# EKS' pod identity agent, GKE's metadata server.
- ports:
    - {protocol: TCP, port: 80}
    - {protocol: TCP, port: 988}
  to:
    - ipBlock: {cidr: 169.254.169.254/32}
    - ipBlock: {cidr: 169.254.169.252/32}
    - ipBlock: {cidr: 169.254.170.23/32}
{{- end }}
{{- end }}
{{- end }}

{{/*
Public addresses, and what workloads.allowedPrivateNetworks adds: where datasets and weights are
fetched from. The fetchers check addresses too; this holds for code in a .pt file as well.
*/}}
{{- define "modelyard.network.internet" -}}
{{- $private := .Values.workloads.allowedPrivateNetworks | default list }}
{{- if or .Values.networkPolicies.internet $private }}
- to:
    {{- if .Values.networkPolicies.internet }}
    - ipBlock:
        cidr: 0.0.0.0/0
        except:
          - 0.0.0.0/8
          - 10.0.0.0/8
          - 100.64.0.0/10
          - 127.0.0.0/8
          # A wire server of Azure, outside the private ranges.
          - 168.63.129.16/32
          - 169.254.0.0/16
          - 172.16.0.0/12
          - 192.0.0.0/24
          - 192.168.0.0/16
          - 198.18.0.0/15
          - 224.0.0.0/3
    - ipBlock:
        cidr: ::/0
        except:
          - ::/128
          - ::1/128
          # NAT64: IPv4 addresses, private ones among them.
          - 64:ff9b::/96
          - 64:ff9b:1::/48
          - fc00::/7
          - fe80::/10
          - ff00::/8
    {{- end }}
    {{- range $private }}
    - ipBlock: {cidr: {{ . | quote }}}
    {{- end }}
{{- end }}
{{- end }}

{{/* The pods of a component of workloads. Called with its name, or a list of names. */}}
{{- define "modelyard.network.pods" -}}
matchLabels:
  app.kubernetes.io/managed-by: modelyard
matchExpressions:
  - {key: app.kubernetes.io/component, operator: In, values: {{ toJson (kindIs "string" . | ternary (list .) .) }}}
{{- end }}
