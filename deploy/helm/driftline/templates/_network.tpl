{{/* Rules of network policies. */}}

{{/* Ports of Kafka: those that are given, else those of kafka.bootstrap_servers. */}}
{{- define "driftline.network.kafkaPorts" -}}
{{- $config := include "driftline.config.read" . | fromYaml -}}
{{- $ports := .Values.networkPolicy.egress.kafka.ports -}}
{{- if not $ports -}}
{{- range splitList "," (dig "kafka" "bootstrap_servers" "" $config) -}}
{{- $port := regexFind "[0-9]+$" (trim .) -}}
{{- if $port -}}{{- $ports = append $ports (int $port) -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml (dict "ports" ($ports | default (list 9092) | uniq)) -}}
{{- end }}

{{/* Ports of what an address of the configuration names: those that are given, else that of `url`; none if there is none. */}}
{{- define "driftline.network.portsOf" -}}
{{- $ports := .ports -}}
{{- if and .url (not $ports) -}}
{{- $address := urlParse .url -}}
{{- $usual := eq $address.scheme "https" | ternary "443" "80" -}}
{{- $ports = list (int (regexFind "[0-9]+$" (regexFind ":[0-9]+$" $address.host) | default $usual)) -}}
{{- end -}}
{{- toYaml (dict "ports" $ports) -}}
{{- end }}

{{/* Rules for what the pods of a role reach: `wanted` names them. */}}
{{- define "driftline.network.egress" -}}
{{- $egress := .root.Values.networkPolicy.egress -}}
{{- $config := include "driftline.config.read" .root | fromYaml -}}
{{- $urls := dict
  "registry" (dig "registry" "url" "" $config)
  "tracing" (dig "tracing" "endpoint" "" $config)
  "kafkaLogin" (dig "kafka" "options" "sasl.oauthbearer.token.endpoint.url" "" $config)
-}}
{{- range .wanted }}
{{- $rule := get $egress . -}}
{{- $ports := $rule.ports -}}
{{- if eq . "kafka" }}{{- $ports = (include "driftline.network.kafkaPorts" $.root | fromYaml).ports }}{{- end }}
{{- if hasKey $urls . }}{{- $ports = (include "driftline.network.portsOf" (dict "url" (get $urls .) "ports" $ports) | fromYaml).ports }}{{- end }}
{{- if $ports }}
- ports:
    {{- range $ports }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
    {{- if eq . "dns" }}
    {{- range $ports }}
    - {protocol: UDP, port: {{ . }}}
    {{- end }}
    {{- end }}
  {{- with $rule.to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}
{{- with $egress.extra }}
{{ toYaml . }}
{{- end }}
{{- end }}
