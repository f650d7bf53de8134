{{- /* SPDX-License-Identifier: Apache-2.0 */ -}}

{{- /* Names. One mesh in a cluster, so they are not the release's. */ -}}
{{- define "warren.agent" -}}{{ ternary "istio-cni-node" "warren-agent" .Values.compat.istioNames }}{{- end -}}
{{- define "warren.ztunnel" -}}{{ ternary "ztunnel" "warren-ztunnel" .Values.compat.istioNames }}{{- end -}}
{{- define "warren.controller" -}}warren-controller{{- end -}}

{{- define "warren.labels" -}}
app.kubernetes.io/part-of: warren
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/instance: {{ .Release.Name }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "warren.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}{{ .repository }}@{{ .digest }}{{- else -}}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{- end -}}
{{- end -}}
{{- end -}}

{{- define "warren.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end -}}

{{- /* host:port of xDS and certificates. */ -}}
{{- define "warren.controlPlane" -}}
{{- if eq .Values.controlPlane "istiod" -}}{{ .Values.istiod.address }}
{{- else -}}{{ include "warren.controller" . }}.{{ .Release.Namespace }}.svc:15012{{- end -}}
{{- end -}}

{{- define "warren.rootNamespace" -}}{{ .Values.mesh.rootNamespace | default .Release.Namespace }}{{- end -}}

{{- define "warren.caSecret" -}}{{ .Values.controller.ca.existingSecret | default "warren-ca" }}{{- end -}}

{{- /* Who a pod is, for the control plane. */ -}}
{{- define "warren.identity" -}}
- name: NODE_NAME
  valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: INSTANCE_IP
  valueFrom: {fieldRef: {fieldPath: status.podIP}}
- name: SERVICE_ACCOUNT
  valueFrom: {fieldRef: {fieldPath: spec.serviceAccountName}}
{{- end -}}

{{- /* The token that the control plane reviews, and the roots that verify it. */ -}}
{{- define "warren.trustVolumes" -}}
- name: token
  projected:
    sources:
      - serviceAccountToken: {audience: istio-ca, expirationSeconds: 43200, path: istio-token}
- name: roots
  configMap: {name: istio-ca-root-cert}
{{- end -}}
{{- define "warren.trustMounts" -}}
- {name: token, mountPath: /var/run/secrets/tokens, readOnly: true}
- {name: roots, mountPath: /var/run/secrets/istio, readOnly: true}
{{- end -}}

{{- define "warren.scrape" -}}
{{- if .root.Values.monitoring.annotations }}
prometheus.io/scrape: "true"
prometheus.io/port: {{ .port | quote }}
prometheus.io/path: /metrics
{{- end }}
{{- end -}}

{{- /* Where node pods run; the same for agent and tunnel. */ -}}
{{- define "warren.nodePlacement" -}}
priorityClassName: {{ .Values.priorityClassName.node }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
