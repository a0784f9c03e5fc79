{{- define "lumina-proxy.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "lumina-proxy.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "lumina-proxy.labels" -}}
{{ include "lumina-proxy.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "lumina-proxy.account" -}}
{{- if .Values.serviceAccount.create }}{{ .Values.serviceAccount.name | default (include "lumina-proxy.name" .) }}
{{- else }}{{ .Values.serviceAccount.name | default "default" }}{{ end }}
{{- end }}

{{- define "lumina-proxy.image" -}}
{{- with .Values.image }}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{- define "lumina-proxy.policy" -}}
{{- .Values.policy.existingConfigMap | default (printf "%s-policy" (include "lumina-proxy.name" .)) }}
{{- end }}

{{- define "lumina-proxy.backend" -}}
{{- if eq .Values.mode "sidecar" }}http://127.0.0.1:{{ .Values.backend.port }}
{{- else }}{{ required "backend.url: where the service is" .Values.backend.url }}{{ end }}
{{- end }}
